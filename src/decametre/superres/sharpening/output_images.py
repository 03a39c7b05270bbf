"""Pixels of the output: DN or reflectance, and nodata where the user wants none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from decametre.sentinel2.radiometry import Radiometry
from decametre.superres.sharpening.options import DTYPES, SharpenOptions
from decametre.superres.sharpening.sharpener import SharpenedWindow


def dtype_of(radiometry: Mapping[str, Radiometry], options: SharpenOptions) -> str:
    """Data type of a result: `uint16` for DN, `float32` for reflectance."""
    if any(band.dtype == "float32" for band in radiometry.values()):
        return "float32"
    return DTYPES[options.encoding]


def images_of(
    piece: SharpenedWindow, radiometry: Mapping[str, Radiometry], dtype: str
) -> Mapping[str, np.ndarray]:
    """Every band of a window as uint16 DN, or as float32 reflectance with NaN without data."""
    if dtype == "uint16":
        return piece.dn
    images = dict(piece.reflectance)
    for name in piece.dn.keys() - images.keys():
        dn = piece.dn[name]
        images[name] = measured_reflectance(dn, radiometry[name])
    return images


def measured_reflectance(dn: np.ndarray, radiometry: Radiometry) -> np.ndarray:
    """Reflectance, float32, with NaN where there is no measurement."""
    return np.where(radiometry.valid(dn), radiometry.to_reflectance(dn), np.float32(np.nan))


def with_nodata(
    images: Mapping[str, np.ndarray], where: np.ndarray, radiometry: Mapping[str, Radiometry]
) -> Mapping[str, np.ndarray]:
    """Bands with nodata, or NaN for reflectance, at some pixels.

    Args:
        images: (rows, columns) for each band, from `images_of`.
        where: bool, (rows, columns).
        radiometry: Radiometry of each band.
    """
    return {
        name: np.where(
            where,
            image.dtype.type(np.nan if image.dtype.kind == "f" else radiometry[name].nodata),
            image,
        )
        for name, image in images.items()
    }


def deviations_of(
    piece: SharpenedWindow, radiometry: Mapping[str, Radiometry], dtype: str
) -> Mapping[str, np.ndarray]:
    """The standard deviations of a window.

    Args:
        piece: The window.
        radiometry: See `deviations.deviation_radiometry`.
        dtype: `uint16`: in DN, at least 1, and nodata where they are unknown; `float32`: in
            reflectance, with NaN.
    """
    if dtype == "float32":
        return piece.deviations
    return {
        name: np.where(
            np.isnan(deviation),
            np.uint16(radiometry[name].nodata),
            radiometry[name].to_dn(np.nan_to_num(deviation)),
        )
        for name, deviation in piece.deviations.items()
    }
