"""Sharpen a product."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.options import PathLike
from decametre.progress import Progress, silent
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.output_files import SharpenedFiles

if TYPE_CHECKING:
    from decametre.sentinel2.product import Product
    from decametre.superres.sharpening.sharpening_job import Result

log = logging.getLogger(__name__)


@takes(SharpenOptions)
def sharpen(
    product: Product | PathLike,
    output: PathLike,
    options: SharpenOptions,
    *,
    progress: Progress = silent,
) -> Result:
    """Bring the bands of a Sentinel-2 product to a resolution of 10 m.

    Writes a Cloud-Optimized GeoTIFF and, next to it, a STAC item and a quality card. The 10 m bands
    and the grid are those of the input, bit for bit.

    Args:
        product: An open product, or anything that `open` accepts.
        output: The GeoTIFF. The item is `NAME.json`, the card `NAME.quality.json`.
        progress: Called with the windows completed, all windows, and the 10 m pixels computed.

    Returns:
        The paths written, and the quality card.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    SharpenedFiles(Path(output)).check(overwrite=options.overwrite)
    # Imported here: rasterio and torch take seconds, which a wrong argument should not cost.
    from decametre.api.opening import opened
    from decametre.api.window import choose_window

    product = opened(product, options.offset)
    log.info("offset: %s", product.offset_reason)
    window = choose_window(product, options.window, options.bbox)
    from decametre.superres.models.registry import models_for
    from decametre.superres.sharpening.sharpening_job import run

    models = models_for(options.bands, options.model)
    return run(product, Path(output), models, window, options, progress)
