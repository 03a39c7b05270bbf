"""A raster of classes from a product's own pixels, by spectral rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import OutputError
from decametre.io.staging import Staging
from decametre.landcover.extraction.label_raster import NAMES_TAG
from decametre.landcover.extraction.spectral_rules import (
    BANDS,
    CLASSES,
    COLOURS,
    NOT_MEASURED,
    classify,
)
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import GDAL_OPTIONS, BandReader, StripReader
from decametre.sentinel2.tiling import split

_TILE = 1380
_STEP = 2
"""Windows begin on whole pixels of 20 m, in which B11 comes."""

_BLOCK = 512

Progress = Callable[[int, int, int], None]
"""Called with the windows done, all windows, and the pixels done."""


def label_product(
    product: Product,
    output: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total, pixels: None,
) -> dict[str, float]:
    """Give every pixel of 10 m of a product its class, as `spectral_rules` has it.

    The raster is what `label_raster` reads: it holds its classes' names. A pixel without a
    measurement in one of the bands is nodata.

    Args:
        product: The product.
        output: The GeoTIFF to make.
        overwrite: Allow it to exist.
        progress: Called after every window.

    Returns:
        By class, its share of the measured pixels.

    Raises:
        MissingBandError: The product lacks a band of the rules.
        CorruptDataError: A file cannot be decoded.
        OutputError: The output exists, or cannot be written.
    """
    grid = product.grid
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(f"{output}: give the name of a file that ends in .tif")
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": "uint8",
        "crs": grid.crs,
        "transform": rasterio.Affine(*grid.transform()),
        "nodata": NOT_MEASURED,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
    }
    counts = np.zeros(256, np.int64)
    with (
        BandReader(product, BANDS) as bands,
        Staging(output, overwrite=overwrite, needed=grid.width * grid.height) as staging,
    ):
        strips = StripReader(bands, grid.window)
        path = staging.path(output.name)
        try:
            with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, "w", **profile) as raster:
                raster.write_colormap(1, dict(COLOURS))
                raster.update_tags(**{NAMES_TAG: json.dumps(CLASSES)})
                windows = split(grid.window, _TILE, _STEP)
                for done, window in enumerate(windows, start=1):
                    codes = _codes(product, strips.read_all(BANDS, window))
                    at = rasterio.windows.Window(
                        window.col, window.row, window.width, window.height
                    )
                    raster.write(codes, 1, window=at)
                    counts += np.bincount(codes.ravel(), minlength=256)
                    progress(done, len(windows), int(counts.sum()))
        except RasterioError as error:
            raise OutputError(f"cannot write {output}: {error}") from error
        staging.commit(output.name)
    measured = max(1, int(counts.sum() - counts[NOT_MEASURED]))
    return {name: float(counts[code] / measured) for code, name in CLASSES.items()}


def _codes(product: Product, planes: dict[str, np.ndarray]) -> np.ndarray:
    """Codes of a window, (rows, columns) at 10 m, from DN on native grids."""
    reflectance, measured = {}, []
    for name, plane in planes.items():
        factor = ALL_BANDS[name].gsd // FINEST_GSD
        fine = plane.repeat(factor, axis=0).repeat(factor, axis=1)
        radiometry = product.bands[name].radiometry
        reflectance[name] = radiometry.to_reflectance(fine)
        measured.append(radiometry.valid(fine))
    return np.where(np.logical_and.reduce(measured), classify(reflectance), NOT_MEASURED).astype(
        np.uint8
    )
