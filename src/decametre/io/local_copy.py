"""A product's band files copied to a faster disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import rasterio.shutil
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError
from decametre.io.product import Product


def copied(product: Product, bands: Iterable[str], folder: Path) -> Product:
    """Copy the files of some bands, wherever they lie, and let the product point to the copies.

    All else stays, the product's source too: a result is the same as from the originals.

    Args:
        product: An opened product.
        bands: The bands that will be read; the others are no longer in what is returned.
        folder: Where the copies are made; it exists.

    Raises:
        MissingBandError: The product lacks a band.
        CorruptDataError: A file cannot be copied.
    """
    there = {}
    for file in product.band_files(bands):
        copy = folder / f"{file.band.name}{PurePosixPath(file.path).suffix[:5]}"
        try:
            rasterio.shutil.copyfiles(file.path, str(copy))
        except (RasterioError, OSError) as error:
            raise CorruptDataError(
                f"{product.id}: {file.band.name} cannot be copied to {folder} ({error})"
            ) from error
        there[file.band.name] = dataclasses.replace(file, path=str(copy))
    return dataclasses.replace(product, bands=there)
