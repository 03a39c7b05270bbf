"""A before/after picture: bands as measured on the left, at 10 m on the right."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD

EDGE = 180
"""Largest edge of the pictured square, in 10 m pixels."""

ZOOM = 2
"""Picture pixels for each 10 m pixel."""

GAP = 6
"""White columns and rows between panels."""

COMPOSITES: tuple[tuple[str, str, str], ...] = (("B12", "B8A", "B05"), ("B09", "B09", "B01"))
"""Red, green, blue of each row of panels: short-wave infrared at 20 m, and the 60 m bands."""


def draw(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Draw the panels.

    Args:
        before: Reflectance of each band, (rows, columns) on its native grid; NaN without data.
        after: Reflectance of the same ground and bands at 10 m.

    Returns:
        uint8, (3, rows, columns), a row of two panels for each composite whose bands are in
        `after`; None if there is no such composite.
    """
    rows = []
    for names in COMPOSITES:
        if not set(names) <= after.keys():
            continue
        left = np.stack([repeated(before[n], ALL_BANDS[n].gsd // FINEST_GSD) for n in names])
        right = np.stack([after[n] for n in names])
        low, high = stretch(left)
        gap = np.full((3, right.shape[1] * ZOOM, GAP), 255, np.uint8)
        rows.append(
            np.concatenate([to_bytes(left, low, high), gap, to_bytes(right, low, high)], axis=2)
        )
    if not rows:
        return None
    gap = np.full((3, GAP, rows[0].shape[2]), 255, np.uint8)
    parts = [part for row in rows for part in (gap, row)][1:]
    return np.concatenate(parts, axis=1)


def repeated(image: np.ndarray, factor: int) -> np.ndarray:
    """An image enlarged by repeating its pixels, as a viewer shows a coarse band."""
    return image.repeat(factor, axis=-2).repeat(factor, axis=-1)


def stretch(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 1st and 99th percentile of each channel, shaped to broadcast; NaN is ignored."""
    flat = image.reshape(len(image), -1)
    if np.isnan(flat).all():
        return np.zeros((len(image), 1, 1)), np.ones((len(image), 1, 1))
    low, high = np.nanpercentile(flat, [1, 99], axis=1)
    return low[:, None, None], np.maximum(high, low + 1e-3)[:, None, None]


def to_bytes(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The image stretched to 0..255 and enlarged; NaN is black."""
    scaled = np.nan_to_num((image - low) / (high - low)).clip(0, 1) * 255
    return repeated(scaled.astype(np.uint8), ZOOM)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (3, rows, columns)."""
    profile = {
        "driver": "PNG",
        "count": 3,
        "dtype": "uint8",
        "width": picture.shape[2],
        "height": picture.shape[1],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture is not a map
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(picture)
