"""Land-cover networks, their cards, and how they classify patches."""
