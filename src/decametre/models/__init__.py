"""Networks, their cards, and the registry that finds them by name."""
