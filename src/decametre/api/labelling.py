"""Label the pixels of a product by spectral rules."""

from __future__ import annotations

from pathlib import Path

from decametre.api.keywords import takes
from decametre.api.opening import opened
from decametre.landcover.extraction import spectral_rules
from decametre.landcover.extraction.options import LabelOptions
from decametre.options import PathLike
from decametre.progress import Progress, silent
from decametre.sentinel2.product import Product


@takes(LabelOptions)
def label_product(
    product: Product | PathLike,
    output: PathLike,
    options: LabelOptions,
    *,
    progress: Progress = silent,
) -> dict[str, float]:
    """Assign a class to every pixel of a product by spectral rules.

    The result serves as `labels` of `extract_patches`.

    Args:
        product: An open product, or anything that `open` accepts.
        output: The GeoTIFF to write.
        progress: Called with the windows completed, all windows, and the pixels labelled.

    Returns:
        Share of the measured pixels by class.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    return spectral_rules.label_product(
        opened(product, options.offset),
        Path(output),
        overwrite=options.overwrite,
        progress=progress,
    )
