"""Maps of land cover: a model over a whole product."""
