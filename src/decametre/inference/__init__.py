"""From a product to its bands at ten metres."""
