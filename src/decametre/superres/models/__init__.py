"""Super-resolution networks, their cards, and the registry that finds them by name."""
