"""Sharpen a product."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from decametre.api.arguments import PathLike, Progress
from decametre.api.opening import opened
from decametre.api.window import choose_window
from decametre.choices import DEFAULT_TILE
from decametre.sentinel2.bands import BAND_NAMES, parse_bands
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import models_for
from decametre.superres.sharpening.sharpening_job import Options, Result, run

log = logging.getLogger(__name__)


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
    product = opened(product, offset)
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
