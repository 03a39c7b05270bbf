"""Cutting patches from products: which patches, which labels, and the worker processes."""
