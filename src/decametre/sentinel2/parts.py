"""The part of a product that is processed."""

from __future__ import annotations

import logging

from rasterio.warp import transform_bounds

from decametre.errors import GridError
from decametre.sentinel2.area import Area
from decametre.sentinel2.bands import COARSEST_FACTOR
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product

log = logging.getLogger(__name__)


def choose_window(
    product: Product,
    window: Window | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    aoi: str | None = None,
) -> Window:
    """The window of a product given in one of three ways, extended to complete 60 m pixels.

    Args:
        product: The product.
        window: In 10 m pixels.
        bbox: West, south, east and north in degrees.
        aoi: EWKT from `area.area_text`; its bounds are the window.

    Raises:
        GridError: It is empty or outside the product.
    """
    if bbox is not None:
        west, south, east, north = bbox
        bounds = transform_bounds("EPSG:4326", product.grid.crs, *bbox)
        asked = product.grid.window_of_bounds(bounds).intersection(product.grid.window)
        if not asked.width or not asked.height:
            raise GridError(
                f"bbox {west},{south},{east},{north} is outside the product, which covers "
                f"{','.join(f'{v:.4f}' for v in lonlat_bounds(product))}"
            )
    elif aoi is not None:
        asked = Area(aoi, product.grid).window
    elif window is not None:
        asked = window
    else:
        return product.grid.window
    snapped = product.grid.checked_window(asked, COARSEST_FACTOR)
    if snapped != asked:
        log.info("window %s snapped outward to %s (whole pixels of 60 m)", asked, snapped)
    return snapped


def lonlat_bounds(product: Product) -> tuple[float, float, float, float]:
    """West, south, east, north of a product in degrees."""
    west, south, east, north = transform_bounds(product.grid.crs, "EPSG:4326", *product.grid.bounds)
    return west, south, east, north
