"""Pixels of a product in memory: windows for inference, scenes for training and evaluation."""
