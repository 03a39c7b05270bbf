"""Super-resolution networks, their cards, and the registry of models by name."""
