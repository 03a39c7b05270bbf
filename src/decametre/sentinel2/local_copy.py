"""Copies of a product's band files on a faster disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # `copyfiles` does not convert it
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, OutputError
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS, driver_of
from decametre.sentinel2.integrity import check_file
from decametre.sentinel2.product import Product


def copy_bands(product: Product, bands: Iterable[str], folder: Path) -> Product:
    """Copy the files of some bands into a folder.

    Results are the same as from the originals, including the source in their metadata. Bands that
    GDAL does not read, as those of a Zarr product, are not copied.

    Args:
        product: The product; its files may be remote.
        bands: Names of the bands to copy.
        folder: An existing folder.

    Returns:
        The product with these bands only, read from the copies.

    Raises:
        MissingBandError: The product lacks a band.
        CorruptDataError: A file cannot be copied.
        OutputError: There is not enough disk space.
    """
    copies = {}
    for file in product.band_files(bands):
        if file.image is not None:
            copies[file.band.name] = file
            continue
        suffix = ".jp2" if driver_of(file.path) == "JP2OpenJPEG" else ".tif"
        copy = folder / f"{file.band.name}{suffix}"
        try:
            check_file(file.path, file.checksum)
            with rasterio.Env(**GDAL_OPTIONS):
                rasterio.shutil.copyfiles(file.path, str(copy))
        except (RasterioError, CPLE_BaseError, OSError, CorruptDataError) as error:
            raise CorruptDataError(
                f"{product.id}: {file.band.name} cannot be copied to {folder} ({error})"
            ) from error
        if not copy.exists():  # GDAL removes an incomplete copy without an error
            raise OutputError(f"{copy}: cannot be written; free some space in {folder}")
        copies[file.band.name] = dataclasses.replace(file, path=str(copy))
    return dataclasses.replace(product, bands=copies)
