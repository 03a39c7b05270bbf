"""What a fleet is to do: lists, folders, STAC catalogs and searches, as products with names."""
