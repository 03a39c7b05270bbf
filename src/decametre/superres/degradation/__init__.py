"""Wald's protocol: degradation of images to coarser grids, and training pairs from it."""
