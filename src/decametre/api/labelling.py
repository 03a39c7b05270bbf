"""Give the pixels of a product classes by spectral rules."""

from __future__ import annotations

from pathlib import Path

from decametre.api.arguments import PathLike, Progress
from decametre.api.opening import opened
from decametre.landcover.extraction import spectral_rules
from decametre.sentinel2.product import Product


def label_product(
    product: Product | PathLike,
    output: PathLike,
    *,
    offset: str | float = "auto",
    overwrite: bool = False,
    progress: Progress = lambda done, total, pixels: None,
) -> dict[str, float]:
    """Give every pixel of a product a class by spectral rules, for `extract_patches(labels=...)`.

    Args:
        product: An opened product, or what `open` takes.
        output: The GeoTIFF to make.
        offset: See `open`.
        overwrite: Replace an existing output.
        progress: Called with windows done, all windows, and pixels done.

    Returns:
        By class, its share of the measured pixels.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    return spectral_rules.label_product(
        opened(product, offset), Path(output), overwrite=overwrite, progress=progress
    )
