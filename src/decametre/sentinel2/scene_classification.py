"""The scene classification of Level-2A products: clouds, snow, water and more at 20 m."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, GridError, MissingBandError
from decametre.sentinel2.eopf import read_eopf_scene_classification
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS, driver_of
from decametre.sentinel2.hrefs import gdal_path, resolve_href
from decametre.sentinel2.integrity import check_file
from decametre.sentinel2.product import Product
from decametre.sentinel2.stac import read_item

GSD = 20
"""Its ground sampling distance in metres."""

CLASSES: Mapping[str, tuple[int, ...]] = {"shadow": (3,), "cloud": (8, 9, 10), "snow": (11,)}
"""Values that exclude patches: cloud shadow; clouds of medium and high probability and thin cirrus;
snow or ice."""

_ASSETS = ("scl", "scl_20m", "scl-jp2")
_B05_NAME = "_B05_20m."


def read_scene_classification(product: Product) -> np.ndarray:
    """Read the scene classification of a product.

    Returns:
        uint8, (rows, columns) at 20 m, on the product's grid.

    Raises:
        MissingBandError: The product has none, as all of Level-1C.
        CorruptDataError: It cannot be decoded.
        GridError: It is not on the product's grid.
    """
    if (classes := read_eopf_scene_classification(product)) is not None:
        return classes
    path = _path(product)
    if path is None:
        raise MissingBandError(
            f"{product.id}: has no scene classification (SCL at {GSD} m), which Level-2A products "
            "have; give one, or exclude patches by a list of names"
        )
    check_file(path)
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver=driver_of(path)) as dataset:
            found, expected = tuple(dataset.transform)[:6], product.grid.transform(GSD)
            if dataset.shape != product.grid.shape(GSD) or not np.allclose(
                found, expected, rtol=0, atol=1e-3
            ):
                raise GridError(
                    f"{path}: {dataset.shape} pixels from {found[2]}, {found[5]}; expected "
                    f"{product.grid.shape(GSD)} from {expected[2]}, {expected[5]}"
                )
            return dataset.read(1).astype(np.uint8)
    except RasterioError as error:
        raise CorruptDataError(
            f"{path}: cannot be read ({error.__cause__ or error}); download it again"
        ) from error


def _path(product: Product) -> str | None:
    """GDAL's name of the file: next to B05 in a SAFE product, or an asset of a STAC item."""
    b05 = product.bands["B05"].path if "B05" in product.bands else ""
    if _B05_NAME in b05:
        path = "_SCL_20m.".join(b05.rsplit(_B05_NAME, 1))
        if path.startswith("/vsi") or Path(path).is_file():
            return path
    if product.source.lower().endswith((".json", ".geojson")) or "://" in product.source:
        item = read_item(product.source)
        for key, asset in item.assets.items():
            if key.lower() in _ASSETS:
                return gdal_path(resolve_href(product.source, asset.href))
    return None
