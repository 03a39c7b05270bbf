"""Super-resolution: from a product to its bands at ten metres."""
