"""Open a product."""

from __future__ import annotations

import os

from decametre.api.arguments import PathLike
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product


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


def opened(product: Product | PathLike, offset: str | float) -> Product:
    """The product itself where it is open, else what `open` makes of it."""
    return product if isinstance(product, Product) else open(product, offset)
