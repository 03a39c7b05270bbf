"""Pixels of a product in memory: windows for sharpening, scenes for training and evaluation."""
