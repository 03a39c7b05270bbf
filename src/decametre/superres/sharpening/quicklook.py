"""A before/after picture: bands as measured on the left, at 10 m on the right."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image, ImageDraw, ImageFont
from rasterio.errors import NotGeoreferencedWarning

from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS

EDGE = 180
"""Largest edge of the pictured square, in 10 m pixels."""

ZOOM = 2
"""Picture pixels for each 10 m pixel."""

THUMBNAIL_EDGE = 512
"""Longer edge of the thumbnail, in pixels."""

GAP = 6
"""White columns and rows between panels."""

LABEL_HEIGHT = 16
"""Rows of the text above each row of panels."""

COMPOSITES: tuple[tuple[str, str, str], ...] = (
    ("B04", "B03", "B02"),
    ("B12", "B8A", "B05"),
    ("B09", "B09", "B01"),
)
"""Red, green, blue of each row of panels: true colour, short-wave infrared at 20 m, and the 60 m
bands."""


def composites_of(bands: Sequence[str]) -> list[tuple[str, str, str]]:
    """The composites that can be drawn from some bands; of the coarsest bands if there is none."""
    found = [names for names in COMPOSITES if set(names) <= set(bands)]
    if found:
        return found
    coarse = sorted(bands, key=lambda name: -ALL_BANDS[name].gsd)[:3]
    red, green, blue = (coarse * 3)[:3] if len(coarse) != 2 else (coarse[0], *coarse)
    return [(red, green, blue)]


def draw(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draw the panels.

    Args:
        before: Reflectance of each band, (rows, columns) on its native grid; NaN without data.
        after: Reflectance of the same ground and bands at 10 m.

    Returns:
        uint8, (3, rows, columns): for each composite of `composites_of`, a line with the names of
        its bands and two panels.
    """
    rows = []
    for names in composites_of(list(after)):
        left = np.stack([repeated(before[n], ALL_BANDS[n].gsd // FINEST_GSD) for n in names])
        right = np.stack([after[n] for n in names])
        low, high = stretch(left)
        gap = np.full((3, right.shape[1] * ZOOM, GAP), 255, np.uint8)
        panels = [to_bytes(left, low, high), gap, to_bytes(right, low, high)]
        width = panels[0].shape[2]
        bands, gsds = " ".join(names), sorted({ALL_BANDS[name].gsd for name in names})
        measured = " and ".join(f"{gsd} m" for gsd in gsds)
        labels = [(f"{bands}, measured at {measured}", width + GAP), (f"{bands} at 10 m", width)]
        rows.append(np.concatenate([label(text, columns) for text, columns in labels], axis=2))
        rows.append(np.concatenate(panels, axis=2))
    return np.concatenate(rows, axis=1)


def label(text: str, columns: int) -> np.ndarray:
    """Black text on white: uint8, (3, LABEL_HEIGHT, columns)."""
    image = Image.new("L", (columns, LABEL_HEIGHT), 255)
    ImageDraw.Draw(image).text((2, 2), text, fill=0, font=ImageFont.load_default())
    return np.repeat(np.asarray(image)[None], 3, axis=0)


def write_thumbnail(path: Path, images: Mapping[str, Path]) -> None:
    """Write the complete result as a small JPEG, in the first composite that it has.

    Args:
        path: The JPEG.
        images: The GeoTIFF of each band; their overviews are read.
    """
    planes = []
    for name in composites_of(list(images))[0]:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(images[name]) as dataset:
            shrink = max(1.0, max(dataset.shape) / THUMBNAIL_EDGE)
            shape = tuple(max(1, round(side / shrink)) for side in dataset.shape)
            index = dataset.descriptions.index(name) + 1
            plane = dataset.read(index, out_shape=shape, masked=True)
            planes.append(plane.astype(np.float32).filled(np.nan))
    values = np.stack(planes)
    low, high = stretch(values)
    picture = to_bytes(values, low, high, zoom=1)
    Image.fromarray(np.moveaxis(picture, 0, 2)).save(path, "JPEG", quality=85)


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


def to_bytes(image: np.ndarray, low: np.ndarray, high: np.ndarray, zoom: int = ZOOM) -> np.ndarray:
    """The image stretched to 0..255 and enlarged; NaN is black."""
    scaled = np.nan_to_num((image - low) / (high - low)).clip(0, 1) * 255
    return repeated(scaled.astype(np.uint8), zoom)


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
