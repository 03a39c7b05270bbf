"""Patches of 1200 m with land-cover labels: their format, their stores, their sources."""
