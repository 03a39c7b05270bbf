"""Map the land cover of a product."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.landcover.mapping.options import PredictOptions
from decametre.landcover.mapping.output_files import MapFiles
from decametre.options import PathLike
from decametre.progress import Progress, silent

if TYPE_CHECKING:
    from decametre.landcover.mapping.mapping_job import LandCoverMap
    from decametre.sentinel2.product import Product

log = logging.getLogger(__name__)


@takes(PredictOptions, positional=("model",))
def predict_land_cover(
    product: Product | PathLike,
    output: PathLike,
    options: PredictOptions,
    *,
    progress: Progress = silent,
) -> LandCoverMap:
    """Map the land cover of a product: the probability of every class for each patch.

    Writes a Cloud-Optimized GeoTIFF with one band per class, and next to it `NAME.classes.tif`, the
    most probable class with a colour table, `NAME.geojson`, the patches, and a STAC item
    `NAME.json`. A pixel of the map is as large as the stride; patches are counted from the first
    pixel of the window.

    Args:
        product: An open product, or anything that `open` accepts.
        output: The GeoTIFF.
        progress: Called with the patches completed, all patches, and the patches completed.

    Returns:
        The paths written, and the number of patches.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    MapFiles(Path(output)).check(overwrite=options.overwrite)
    # Imported here: rasterio and torch take seconds, which wrong arguments should not cost.
    from decametre.api.opening import opened
    from decametre.sentinel2.parts import choose_window

    product = opened(product, options.offset)
    log.info("offset: %s", product.offset_reason)
    window = choose_window(product, options.window, options.bbox, options.aoi)
    from decametre.landcover.mapping import mapping_job
    from decametre.landcover.models.card import load_land_cover
    from decametre.superres.sharpening.sharpened_tile import open_sharpened

    return mapping_job.run(
        product,
        Path(output),
        load_land_cover(options.model),
        window,
        None if options.sharpened is None else open_sharpened(options.sharpened),
        options,
        progress,
    )
