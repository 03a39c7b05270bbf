"""Patches of 1200 m with land-cover labels: what they are, where they are kept, how they come."""
