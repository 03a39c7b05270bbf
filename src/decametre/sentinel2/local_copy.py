"""A product's band files copied to a faster disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # what `copyfiles` lets through
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, OutputError
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import GDAL_OPTIONS, driver_of


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
        OutputError: There is no room for a copy.
    """
    there = {}
    for file in product.band_files(bands):
        suffix = ".jp2" if driver_of(file.path) == "JP2OpenJPEG" else ".tif"
        copy = folder / f"{file.band.name}{suffix}"
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                rasterio.shutil.copyfiles(file.path, str(copy))
        except (RasterioError, CPLE_BaseError, OSError) as error:
            raise CorruptDataError(
                f"{product.id}: {file.band.name} cannot be copied to {folder} ({error})"
            ) from error
        if not copy.exists():  # GDAL says nothing when it cannot write, and removes what it has
            raise OutputError(f"{copy}: cannot be written; free some space in {folder}")
        there[file.band.name] = dataclasses.replace(file, path=str(copy))
    return dataclasses.replace(product, bands=there)
