"""Map the land cover of a product."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from decametre.api.arguments import PathLike, Progress
from decametre.api.opening import opened
from decametre.api.window import choose_window
from decametre.landcover.mapping import mapping_job
from decametre.landcover.models.card import load_land_cover
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.sharpening.sharpened_tile import open_sharpened

log = logging.getLogger(__name__)


def predict_land_cover(
    product: Product | PathLike,
    output: PathLike,
    model: PathLike,
    *,
    stride: int = 1200,
    window: Window | tuple[int, int, int, int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    offset: str | float = "auto",
    sharpened: PathLike | None = None,
    sharpen_with: str | Sequence[str] = (),
    least_data: float = 0.9,
    encoding: str = "probability",
    geojson: bool = True,
    device: str = "auto",
    precision: str = "auto",
    overwrite: bool = False,
    progress: Progress = lambda done, total, patches: None,
) -> mapping_job.LandCoverMap:
    """Map the land cover of a product: the probability of every class, patch by patch.

    Writes a Cloud-Optimized GeoTIFF with a band a class, and beside it `NAME.classes.tif`, the most
    probable class with a colour table, `NAME.geojson`, the patches, and a STAC item `NAME.json`.

    Args:
        product: An open product, or what `open` takes.
        output: The GeoTIFF.
        model: Folder of a land-cover model.
        stride: From one patch of 1200 m to the next, in metres: 1200, or less and a multiple of 60
            for patches that overlap. A pixel of the map is as large as the stride.
        window: As in `sharpen`; the patches are counted from its first pixel.
        bbox: Likewise.
        offset: See `open`; only where `product` is not open yet.
        sharpened: A result of `sharpen` of all bands in DN, for a model that sees such.
        sharpen_with: Models, families or folders that sharpen on the way, for such a model; those
            that sharpened its training images without.
        least_data: Share of a patch that must have data for it to be classified.
        encoding: `probability`: float32 with NaN as nodata. `percent`: uint8 with 255.
        geojson: Also write the patches as GeoJSON.
        device: As in `sharpen`; of several GPUs the first.
        precision: As in `sharpen`, for what sharpens on the way. The rest is float32.
        overwrite: Replace an existing output.
        progress: Called with the patches done, all patches, and the patches done.

    Returns:
        The paths written, and the number of patches.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    product = opened(product, offset)
    log.info("offset: %s", product.offset_reason)
    options = mapping_job.Options(
        stride=stride,
        least_data=least_data,
        encoding=encoding,
        sharpen_with=[sharpen_with] if isinstance(sharpen_with, str) else list(sharpen_with),
        device=device,
        precision=precision,
        geojson=geojson,
        overwrite=overwrite,
    )
    return mapping_job.run(
        product,
        Path(output),
        load_land_cover(Path(model)),
        choose_window(product, window, bbox),
        None if sharpened is None else open_sharpened(Path(sharpened)),
        options,
        progress,
    )
