"""Land-cover networks, their cards, and the classification of patches."""
