"""Writers that super-resolution and land cover share: COG, STAC item, staging."""
