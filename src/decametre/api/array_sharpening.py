"""Sharpen plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.errors import GridError
from decametre.progress import Progress, silent
from decametre.sentinel2.options import parse_offset
from decametre.superres.sharpening.options import SharpenOptions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from decametre.superres.sharpening.array_job import SharpenedArrays


@takes(
    SharpenOptions,
    exclude={
        *("bbox", "aoi", "crop", "compression"),
        *("split_bands", "quicklook", "masks", "mask_clouds", "overwrite"),
    },
)
def sharpen_arrays(
    images: Mapping[str, ArrayLike],
    options: SharpenOptions,
    *,
    scale: float = 1e-4,
    nodata: int = 0,
    progress: Progress = silent,
) -> SharpenedArrays:
    """Bring bands in arrays to a resolution of 10 m; no file is read or written.

    All bands cover the same ground, and the first pixel of each starts at its north-western corner.

    Args:
        images: (rows, columns) by name of the band, each on its native grid. With R rows and C
            columns at 10 m, B02, B03, B04 and B08 are (R, C); B05, B06, B07, B8A, B11 and B12
            (R/2, C/2); B01 and B09 (R/6, C/6). Integers are DN between 1 and 65534, with 65535 as
            saturated, and reflectance = (DN + offset) x scale; the offset must be given. Floats are
            reflectance, usually between 0 and 1, with NaN without data.
        scale: Reflectance per DN.
        nodata: DN of pixels without data.
        progress: Called with the windows completed, all windows, and the 10 m pixels computed.

    Returns:
        (R, C) for each band, uint16 DN or float32 reflectance as the input, and the quality card.

    Raises:
        RadiometryError: The units are ambiguous or impossible.
        GridError: The shapes do not fit together.
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    # Imported here: rasterio and torch take seconds, which a wrong argument should not cost.
    import numpy as np

    from decametre.sentinel2.array_product import BandArray, array_product
    from decametre.sentinel2.bands import parse_bands
    from decametre.sentinel2.parts import choose_window
    from decametre.superres.models.registry import models_for
    from decametre.superres.sharpening.array_job import run_in_memory

    arrays = {}
    for given, pixels in images.items():
        (name,), array = parse_bands([given]), np.asarray(pixels)
        if array.ndim != 2:
            raise GridError(f"band {name}: has {array.ndim} dimensions; give (rows, columns)")
        is_dn = array.dtype.kind in "iu"
        arrays[name] = BandArray(array, scale if is_dn else None, nodata=nodata if is_dn else None)
    product = array_product(arrays, "arrays", parse_offset(options.offset))
    window = choose_window(product, options.window)
    models = models_for(options.bands, options.model)
    return run_in_memory(product, models, window, options, progress)
