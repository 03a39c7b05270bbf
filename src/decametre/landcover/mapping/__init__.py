"""Maps of land cover of a complete product."""
