"""Pixels of one window, every band on its native grid, as inputs of a network.

Networks never get nodata. Pixels without a measurement (nodata, saturated, or outside the product)
are filled from the nearest measured ones, and a mask marks them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import WindowReader


@dataclass(frozen=True)
class Stack:
    """A window's pixels, by GSD.

    Attributes:
        bands: Band names for each GSD in metres, in the order of the arrays' first axes.
        dn: uint16, (bands, rows, columns) for each GSD; nodata outside the product.
        reflectance: float32, the same shapes, filled where there is no measurement.
        valid: bool, the same shapes, True where the pixel is a measurement.
    """

    bands: Mapping[int, tuple[str, ...]]
    dn: Mapping[int, np.ndarray]
    reflectance: Mapping[int, np.ndarray]
    valid: Mapping[int, np.ndarray]


def by_gsd(names: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Group band names by native GSD, finest first, by wavelength within each."""
    gsds = sorted({ALL_BANDS[name].gsd for name in names})
    return {
        gsd: tuple(n for n in ALL_BANDS if n in names and ALL_BANDS[n].gsd == gsd) for gsd in gsds
    }


def read_stack(
    reader: WindowReader, product: Product, names: Sequence[str], window: Window, reach: int
) -> Stack:
    """Read a window of several bands and fill pixels without a measurement.

    Args:
        reader: An open reader of the product, with these bands.
        product: The product.
        names: Band names.
        window: In 10 m pixels, a multiple of the coarsest band's factor. Beyond the product, pixels
            are mirrored and count as not measured. Grids of different GSD stay consistent: the mean
            of mirrored fine pixels is the mirrored coarse pixel.
        reach: How far, in 10 m pixels, a gap is filled from its edge; see `fill_gaps`.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    inside = window.intersection(product.grid.window)
    groups = by_gsd(names)
    read = reader.read_all(names, inside)
    dn, reflectance, valid = {}, {}, {}
    for gsd, group in groups.items():
        factor = gsd // FINEST_GSD
        at = inside.coarsened(factor)
        outer = window.coarsened(factor)
        border = [
            (at.row - outer.row, outer.bottom - at.bottom),
            (at.col - outer.col, outer.right - at.right),
        ]
        planes = []
        for name in group:
            plane, radiometry = read[name], product.bands[name].radiometry
            measured = radiometry.valid(plane)
            values = fill_gaps(radiometry.to_reflectance(plane), measured, -(-reach // factor))
            planes.append(
                (
                    np.pad(plane, border, constant_values=radiometry.nodata),
                    np.pad(values, border, mode="symmetric"),
                    np.pad(measured, border),
                )
            )
        dn[gsd], reflectance[gsd], valid[gsd] = (
            np.stack(part) for part in zip(*planes, strict=True)
        )
    return Stack(groups, dn, reflectance, valid)


def fill_gaps(values: np.ndarray, valid: np.ndarray, reach: int) -> np.ndarray:
    """Fill pixels without a measurement with plausible values of measured pixels.

    Pixels at the rim of a gap get the mean of the measured pixels among their eight neighbours, so
    a single missing row becomes the mean of the rows above and below. Deeper pixels, up to `reach`,
    get the value of the nearest pixel that has one. Pixels beyond that are 0, and no output pixel
    depends on them.

    A filled pixel depends only on pixels at most `reach` + 2 away, so it gets the same value in
    every window.

    Args:
        values: (rows, columns), float32.
        valid: bool, the same shape: True where a pixel is a measurement.
        reach: In pixels.

    Returns:
        The filled values; `values` itself if all pixels are measured.
    """
    if valid.all():
        return values
    values = np.where(valid, values, np.float32(0))
    # Sums over the 3 x 3 neighbourhood, of values and of their number.
    kernel = np.ones(3, np.float32)
    total, count = (
        ndimage.convolve1d(
            ndimage.convolve1d(plane, kernel, axis=0, mode="constant"),
            kernel,
            axis=1,
            mode="constant",
        )
        for plane in (values, valid.astype(np.float32))
    )
    rim = ~valid & (count > 0.5)
    values[rim] = total[rim] / count[rim]
    known = valid | rim
    if known.all() or not known.any():
        return values
    distance, (rows, cols) = ndimage.distance_transform_edt(~known, return_indices=True)
    near = ~known & (distance <= reach)
    values[near] = values[rows[near], cols[near]]
    return values


def reach_for(margin: int) -> int:
    """How far gaps must be filled for a network with this margin, in the same pixels.

    An output pixel depends on `margin` pixels along each axis, so the distance to a filled pixel is
    at most the diagonal.
    """
    return math.ceil(margin * math.sqrt(2))
