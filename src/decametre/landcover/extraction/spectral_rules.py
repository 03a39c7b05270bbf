"""Classify pixels by spectral rules: thresholds of published indices.

The rules describe reflectance, not land cover: a dark roof may look like water, a fallow field like
a desert. They serve to check whether a network can learn classes from examples alone. Scores
against them are not an accuracy.

The first rule that holds decides. (a, b) stands for (a - b) / (a + b).

==========  ====================================================  ===============================
Snow        NDSI (B03, B11) > 0.4; B08 > 0.15; B02 > 0.18         Hall et al. 1995; for the rest,
                                                                  the lower thresholds of Sen2Cor
Water       MNDWI (B03, B11) > 0.3; NDWI (B03, B08) > 0           Xu 2006; McFeeters 1996
Vegetation  NDVI (B08, B04) > 0.4                                 Rouse et al. 1974
Bare        BSI (B11 + B04, B08 + B02) > 0.1                      Rikimaru et al. 2002
ground
Built-up    NDBI (B11, B08) > -0.1                                Zha et al. 2003
==========  ====================================================  ===============================

Two thresholds differ from the authors' 0. MNDWI: at the top of the atmosphere, haze raises the
green of shaded streets above their short-wave infrared. NDBI: trees stand between houses.

Sources:
    * D. K. Hall, G. A. Riggs, V. V. Salomonson. Development of methods for mapping global snow
      cover using MODIS data. Remote Sensing of Environment 54, 1995.
    * H. Xu. Modification of normalised difference water index (NDWI) to enhance open water features
      in remotely sensed imagery. International Journal of Remote Sensing 27(14), 2006.
    * S. K. McFeeters. The use of the normalized difference water index (NDWI) in the delineation of
      open water features. International Journal of Remote Sensing 17(7), 1996.
    * J. W. Rouse, R. H. Haas, J. A. Schell, D. W. Deering. Monitoring vegetation systems in the
      Great Plains with ERTS. NASA SP-351, 1974.
    * A. Rikimaru, P. S. Roy, S. Miyatake. Tropical forest cover density mapping. Tropical Ecology
      43(1), 2002.
    * Y. Zha, J. Gao, S. Ni. Use of normalized difference built-up index in automatically mapping
      urban areas from TM imagery. International Journal of Remote Sensing 24(3), 2003.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import OutputError
from decametre.io.staging import Staging
from decametre.landcover.extraction.label_raster import NAMES_TAG
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader, StripReader
from decametre.sentinel2.tiling import split

_TILE = 1380
_STEP = 2
"""Windows begin on whole pixels of the 20 m grid, which is that of B11."""

_BLOCK = 512

BANDS = ("B02", "B03", "B04", "B08", "B11")
"""Input bands of the rules."""

NOT_MEASURED = 0
"""Code of a pixel that lacks a measurement in one of the bands."""

CLASSES: Mapping[int, str] = {
    1: "Water",
    2: "Vegetation",
    3: "Bare ground",
    4: "Built-up",
    5: "Snow",
}
"""Class name by code."""

UNCLASSIFIED = 6
"""Code of a measured pixel for which no rule holds."""

COLOURS: Mapping[int, tuple[int, int, int]] = {
    1: (38, 103, 196),
    2: (54, 143, 61),
    3: (214, 178, 108),
    4: (196, 52, 60),
    5: (240, 248, 255),
    UNCLASSIFIED: (128, 128, 128),
}
"""Red, green and blue by code, for maps."""


def classify(reflectance: Mapping[str, np.ndarray]) -> np.ndarray:
    """Classify pixels.

    Args:
        reflectance: Arrays of one shape for each of `BANDS`, offset applied. Negative values count
            as 0.

    Returns:
        uint8 codes of `CLASSES`, or `UNCLASSIFIED`, of the same shape.
    """
    blue, green, red, near, short = (np.maximum(reflectance[name], 0) for name in BANDS)
    greenness = _contrast(green, short)
    snow = (greenness > 0.4) & (near > 0.15) & (blue > 0.18)
    water = (greenness > 0.3) & (green > near)
    vegetation = _contrast(near, red) > 0.4
    bare = _contrast(short + red, near + blue) > 0.1
    built = _contrast(short, near) > -0.1
    codes = {name: code for code, name in CLASSES.items()}
    order = ("Snow", "Water", "Vegetation", "Bare ground", "Built-up")
    found = np.select(
        [snow, water, vegetation, bare, built], [codes[name] for name in order], UNCLASSIFIED
    )
    return found.astype(np.uint8)


def _contrast(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a - b) / (a + b); -1 where both are 0, so that no rule holds for a black pixel."""
    total = a + b
    out = np.full(total.shape, -1, np.float32)
    return np.divide(a - b, total, out=out, where=total > 0)


def label_product(
    product: Product,
    output: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] = lambda done, total, pixels: None,
) -> dict[str, float]:
    """Classify every 10 m pixel of a product.

    The raster holds its class names, so that `read_label_raster` needs no others. A pixel that
    lacks a measurement in one of the bands is nodata.

    Args:
        product: The product.
        output: The GeoTIFF to write.
        overwrite: Allow it to exist.
        progress: Called after every window with windows completed, all windows, and pixels
            completed.

    Returns:
        Share of the measured pixels of each class.

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
                    pixels = rasterio.windows.Window(
                        window.col, window.row, window.width, window.height
                    )
                    raster.write(codes, 1, window=pixels)
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
