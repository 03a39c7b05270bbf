"""Wald's protocol: how fine images become coarse ones, and training pairs made that way."""
