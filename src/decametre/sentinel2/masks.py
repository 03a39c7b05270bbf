"""Rasters of a product that are no bands: scene classification, cloud masks, detector footprints.

Readers find the files (`find_masks`, `mask_assets`); `read_mask` reads a window of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, GridError, MissingBandError
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS, driver_of
from decametre.sentinel2.grid import Window
from decametre.sentinel2.integrity import check_file
from decametre.sentinel2.product import Product

GSD = 20
"""Ground sampling distance of the scene classification in metres."""

CLASSES: Mapping[str, tuple[int, ...]] = {"shadow": (3,), "cloud": (8, 9, 10), "snow": (11,)}
"""Values of the scene classification by what they show: cloud shadow; clouds of medium and high
probability and thin cirrus; snow or ice."""

SCENE_CLASSES: tuple[tuple[str, str], ...] = (
    ("no_data", "000000"),
    ("saturated_or_defective", "ff0000"),
    ("dark_area", "2f2f2f"),
    ("cloud_shadow", "643200"),
    ("vegetation", "00a000"),
    ("not_vegetated", "ffe65a"),
    ("water", "0000ff"),
    ("unclassified", "808080"),
    ("cloud_medium_probability", "c0c0c0"),
    ("cloud_high_probability", "ffffff"),
    ("thin_cirrus", "64c8ff"),
    ("snow_or_ice", "ff96ff"),
)
"""Name and colour of each value of the scene classification (Sen2Cor's)."""


@dataclass(frozen=True)
class Mask:
    """A kind of raster that products contain.

    Attributes:
        title: Human-readable name.
        gsd: Ground sampling distance in metres.
        planes: Name of each plane.
        file: Pattern of the file's name in SAFE products and folders of bands.
        assets: Keys of STAC assets in lower case.
        roles: Roles of the STAC asset of a copy.
    """

    title: str
    gsd: int
    planes: tuple[str, ...]
    file: str
    assets: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


MASKS: Mapping[str, Mask] = {
    "scl": Mask(
        "scene classification of Level-2A (SCL)",
        GSD,
        ("scene_classification",),
        r"(.*_)?SCL(_20m)?",
        ("scl", "scl_20m", "scl-jp2"),
        ("data", "cloud", "cloud-shadow", "snow-ice", "water-mask"),
    ),
    "cloud_probability": Mask(
        "cloud probability in percent, of Level-2A",
        20,
        ("cloud_probability",),
        r"MSK_CLDPRB_20m|CLD_20m",
        ("cloud", "cld_20m"),
        ("data", "cloud"),
    ),
    "snow_probability": Mask(
        "snow probability in percent, of Level-2A",
        20,
        ("snow_probability",),
        r"MSK_SNWPRB_20m|SNW_20m",
        ("snow", "snw_20m"),
        ("data", "snow-ice"),
    ),
    "l1c_clouds": Mask(
        "opaque clouds, cirrus and snow of Level-1C",
        60,
        ("opaque_clouds", "cirrus_clouds", "snow_and_ice"),
        r"MSK_CLASSI_B00",
        (),
        ("data", "cloud", "snow-ice"),
    ),
    "detectors": Mask(
        "number of the detector that measured B02",
        10,
        ("detector",),
        r"MSK_DETFOO_B02",
        (),
        ("data",),
    ),
}
"""The rasters by name."""


def find_masks(paths: Iterable[str]) -> dict[str, str]:
    """The raster files among those of a product: path by name in `MASKS`."""
    found: dict[str, str] = {}
    for path in sorted(paths):
        stem, _, suffix = path.replace("\\", "/").rpartition("/")[2].rpartition(".")
        for name, mask in MASKS.items():
            if suffix.lower() in ("jp2", "tif", "tiff") and re.fullmatch(mask.file, stem, re.I):
                found.setdefault(name, path)
    return {name: found[name] for name in MASKS if name in found}


def mask_assets(keys: Iterable[str]) -> dict[str, str]:
    """The rasters among the assets of a STAC item: key by name in `MASKS`."""
    found: dict[str, str] = {}
    for key in keys:
        for name, mask in MASKS.items():
            if key.lower() in mask.assets:
                found.setdefault(name, key)
    return found


@dataclass(frozen=True)
class MaskPixels:
    """A raster in a window.

    Attributes:
        window: In 10 m pixels, complete pixels of the raster.
        factor: Edge of a pixel of the raster in 10 m pixels.
        planes: uint8, (planes, rows, columns) on the raster's grid.
    """

    window: Window
    factor: int
    planes: np.ndarray

    def at(self, window: Window) -> np.ndarray:
        """The nearest pixels on the 10 m grid: uint8, (planes, rows, columns).

        Args:
            window: In 10 m pixels, inside `self.window`.
        """
        near = window.snapped(self.factor)
        pixels = self.planes[:, *near.relative_to(self.window).coarsened(self.factor).slices]
        fine = pixels.repeat(self.factor, axis=1).repeat(self.factor, axis=2)
        return fine[:, *window.relative_to(near).slices]


def read_mask(product: Product, name: str, window: Window | None = None) -> MaskPixels:
    """Read a window of a raster.

    Args:
        product: The product.
        name: One of `MASKS`.
        window: In 10 m pixels of the product; by default the complete product.

    Raises:
        MissingBandError: The product has none.
        CorruptDataError: It cannot be decoded.
        GridError: It is not on the product's grid.
    """
    mask = MASKS[name]
    source = product.masks.get(name)
    if source is None:
        raise MissingBandError(
            f"{product.id}: has no {mask.title}, or none that decametre reads; give a product "
            "with it"
        )
    factor = mask.gsd // FINEST_GSD
    window = (window or product.grid.window).snapped(factor)
    at = window.coarsened(factor)
    shape = product.grid.shape(mask.gsd)
    if not isinstance(source, str):
        if source.shape != shape:
            raise CorruptDataError(f"{source.where}: has {source.shape} pixels, expected {shape}")
        return MaskPixels(window, factor, source.read(at).astype(np.uint8)[None])
    check_file(source)
    try:
        with (
            rasterio.Env(**GDAL_OPTIONS),
            rasterio.open(source, driver=driver_of(source)) as dataset,
        ):
            found, expected = tuple(dataset.transform)[:6], product.grid.transform(mask.gsd)
            if dataset.shape != shape or not np.allclose(found, expected, rtol=0, atol=1e-3):
                raise GridError(
                    f"{source}: {dataset.shape} pixels from {found[2]}, {found[5]}; expected "
                    f"{shape} from {expected[2]}, {expected[5]}"
                )
            if dataset.count != len(mask.planes):
                raise CorruptDataError(
                    f"{source}: has {dataset.count} planes, expected {', '.join(mask.planes)}"
                )
            part = rasterio.windows.Window(at.col, at.row, at.width, at.height)
            return MaskPixels(window, factor, dataset.read(window=part).astype(np.uint8))
    except RasterioError as error:
        raise CorruptDataError(
            f"{source}: cannot be read ({error.__cause__ or error}); download it again"
        ) from error


def read_scene_classification(product: Product) -> np.ndarray:
    """The scene classification: uint8, (rows, columns) at 20 m; errors as for `read_mask`."""
    classes: np.ndarray = read_mask(product, "scl").planes[0]
    return classes


def read_clouds(product: Product, window: Window) -> MaskPixels:
    """Where clouds or their shadows are: 1, elsewhere 0.

    By the scene classification of Level-2A (`cloud` and `shadow` of `CLASSES`), or else by the
    clouds of Level-1C, which has no shadows.

    Args:
        product: The product.
        window: In 10 m pixels of the product.

    Raises:
        MissingBandError: The product has neither.
        DecametreError: See `read_mask`.
    """
    if "scl" in product.masks:
        found = read_mask(product, "scl", window)
        clouds = np.isin(found.planes, CLASSES["cloud"] + CLASSES["shadow"]).astype(np.uint8)
    elif "l1c_clouds" in product.masks:
        found = read_mask(product, "l1c_clouds", window)
        clouds = found.planes[:2].max(axis=0, keepdims=True)
    else:
        raise MissingBandError(
            f"{product.id}: has neither a scene classification (Level-2A) nor MSK_CLASSI_B00 "
            "(Level-1C from baseline 04.00), which show the clouds; omit --mask-clouds"
        )
    return MaskPixels(found.window, found.factor, clouds)
