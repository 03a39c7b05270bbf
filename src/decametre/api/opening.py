"""Open a product."""

from __future__ import annotations

import os

from decametre.api.keywords import takes
from decametre.options import PathLike
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.options import OpenOptions
from decametre.sentinel2.product import Product


@takes(OpenOptions, positional=("offset",))
def open(source: PathLike, options: OpenOptions) -> Product:
    """Open a Sentinel-2 product; no pixel is read.

    Args:
        source: A SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, an EOPF Zarr folder, zip
            or URL, a folder with one file for each band, or a STAC item (path or URL).

    Raises:
        NotAProductError: It is none of these.
        CorruptDataError: A file is damaged.
        GridError: The grids of the bands do not fit together.
    """
    return open_product(os.fspath(source), options.offset)


def opened(product: Product | PathLike, offset: str | float) -> Product:
    """The product itself if it is open, otherwise the product that `open` returns."""
    return product if isinstance(product, Product) else open(product, offset)
