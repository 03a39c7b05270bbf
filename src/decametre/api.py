"""What Python users call. The command line calls the same and adds nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from rasterio.warp import transform_bounds

from decametre.bands import BAND_NAMES, parse_bands
from decametre.errors import GridError
from decametre.grid import Window
from decametre.inference.job import Options, Progress, Result, run
from decametre.inference.pipeline import DEFAULT_TILE
from decametre.io.opening import open_product
from decametre.io.product import Product
from decametre.models.registry import models_for

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

COARSEST = 6
"""Edge of a 60 m pixel in 10 m pixels."""


def open(source: PathLike, offset: str | float = "auto") -> Product:
    """Open a Sentinel-2 product; no pixel is read.

    Args:
        source: A SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, or a STAC item (path or
            URL).
        offset: Radiometric offset: `auto` (as the product says), `none`, or a number of DN such
            as -1000.

    Raises:
        NotAProductError: It is none of these.
        CorruptDataError: A file is damaged.
        GridError: The bands' grids do not fit one another.
    """
    return open_product(os.fspath(source), offset)


def sharpen(
    product: Product | PathLike,
    output: PathLike,
    *,
    bands: Sequence[str] = BAND_NAMES,
    window: Window | tuple[int, int, int, int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    offset: str | float = "auto",
    model: str | Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    consistent: bool = False,
    encoding: str = "dn",
    compression: str = "deflate",
    quicklook: bool = False,
    overwrite: bool = False,
    tile: int = DEFAULT_TILE,
    progress: Progress = lambda done, total, pixels: None,
) -> Result:
    """Bring the bands of a Sentinel-2 product to ten metres.

    Writes a Cloud-Optimized GeoTIFF, and beside it a STAC item and a quality card. The 10 m bands
    and the grid pass through bit for bit.

    Args:
        product: An open product, or what `open` takes.
        output: The GeoTIFF. The item is `NAME.json`, the card `NAME.quality.json`.
        bands: Bands of the output; all twelve by default.
        window: Part of the product as (column, row, width, height) in 10 m pixels; snapped
            outward to whole pixels of 60 m.
        bbox: Part of the product as (west, south, east, north) in degrees of longitude and
            latitude; snapped likewise.
        offset: See `open`; only where `product` is not open yet.
        model: Names of models or of families, or model folders. Bands that none of them makes
            come from the default family.
        device: `auto` (all GPUs, else the processor), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (bfloat16 where the device is fast at it), `float32` or `bfloat16`.
        consistent: Project the result so that, seen through the sensor's MTF, it gives the input.
        encoding: `dn`: uint16 in the input's own DN, offset and nodata. `reflectance`: float32
            with NaN as nodata.
        compression: `deflate` or `zstd`.
        quicklook: Also write a before/after picture, `NAME.quicklook.png`.
        overwrite: Replace an existing output.
        tile: Edge in 10 m pixels of what is computed at once; less takes less memory.
        progress: Called with the windows done, all windows, and the 10 m pixels done.

    Returns:
        The paths written, and the quality card.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    if not isinstance(product, Product):
        product = open(product, offset)
    names = parse_bands(bands)
    models = models_for(names, [model] if isinstance(model, str) else model)
    log.info("offset: %s", product.offset_reason)
    part = choose_window(product, window, bbox)
    options = Options(
        device=device,
        precision=precision,
        consistent=consistent,
        encoding=encoding,
        compression=compression,
        quicklook=quicklook,
        overwrite=overwrite,
        tile=tile,
    )
    return run(product, Path(output), models, names, part, options, progress)


def choose_window(
    product: Product,
    window: Window | tuple[int, int, int, int] | None,
    bbox: tuple[float, float, float, float] | None,
) -> Window:
    """The part of a product that was asked for, snapped outward to whole pixels of 60 m.

    Raises:
        GridError: Both a window and a bbox were given, or it is empty or outside the product.
    """
    if window is not None and bbox is not None:
        raise GridError("give a window or a bbox, not both")
    if bbox is not None:
        west, south, east, north = bbox
        if not (west < east and south < north):
            raise GridError(
                f"bbox {west},{south},{east},{north} is empty; give WEST,SOUTH,EAST,NORTH in "
                "degrees"
            )
        bounds = transform_bounds("EPSG:4326", product.grid.crs, *bbox)
        asked = product.grid.window_of_bounds(bounds).intersection(product.grid.window)
        if not asked.width or not asked.height:
            raise GridError(
                f"bbox {west},{south},{east},{north} is outside the product, which covers "
                f"{','.join(f'{v:.4f}' for v in lonlat_bounds(product))}"
            )
    elif window is not None:
        asked = window if isinstance(window, Window) else Window(*window)
    else:
        return product.grid.window
    snapped = product.grid.checked_window(asked, COARSEST)
    if snapped != asked:
        log.info("window %s snapped outward to %s (whole pixels of 60 m)", asked, snapped)
    return snapped


def lonlat_bounds(product: Product) -> tuple[float, float, float, float]:
    """West, south, east, north of a product in degrees."""
    west, south, east, north = transform_bounds(product.grid.crs, "EPSG:4326", *product.grid.bounds)
    return west, south, east, north
