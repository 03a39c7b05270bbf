"""What `fleet.listing` and `fleet.search` have in common: documents, items, paths and names."""
