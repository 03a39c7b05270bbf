"""Sentinel-2 products: bands, grid, radiometry, and readers of SAFE folders and STAC items."""
