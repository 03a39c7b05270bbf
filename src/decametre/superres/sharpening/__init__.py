"""Sharpening: all bands of a product at 10 m."""
