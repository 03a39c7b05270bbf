"""How bands become colours: presets, indices, colour scales, PNG tiles."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from decametre.errors import UnknownNameError
from decametre.viewer.layer import LandCoverClass

SHARES = (2.0, 98.0)
"""Percentiles of a band that are shown as black and white."""

PRESETS = {
    "True colour": ("B04", "B03", "B02"),
    "False colour": ("B08", "B04", "B03"),
    "SWIR": ("B12", "B8A", "B04"),
    "Vegetation": ("B8A", "B11", "B12"),
    "Agriculture": ("B11", "B08", "B02"),
    "Red edge": ("B07", "B06", "B05"),
    "60 m bands": ("B09", "B09", "B01"),
}
"""Composites: bands shown as red, green and blue."""


@dataclass(frozen=True)
class Index:
    """A normalized difference of two bands, (a - b) / (a + b).

    Attributes:
        name: Short name.
        title: Long name.
        a: The first band.
        b: The second band.
        limits: Values at the ends of its colour scale.
        scale: Name of its colour scale.
    """

    name: str
    title: str
    a: str
    b: str
    limits: tuple[float, float]
    scale: str

    def values(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The index of reflectances; NaN without data and where the sum is not positive."""
        total = a + b
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, (a - b) / total, np.float32(np.nan))


INDICES = {
    index.name: index
    for index in (
        Index("NDVI", "vegetation", "B08", "B04", (-0.1, 0.9), "RdYlGn"),
        Index("NDMI", "moisture", "B8A", "B11", (-0.4, 0.6), "BrBG"),
        Index("NBR", "burn ratio", "B8A", "B12", (-0.3, 0.8), "RdYlGn"),
        Index("NDWI", "open water", "B03", "B08", (-0.7, 0.7), "RdBu"),
        Index("NDRE", "red edge", "B07", "B05", (-0.1, 0.7), "RdYlGn"),
    )
}
"""Indices by name. NDMI and NBR use B8A, which has the pixel size of B11 and B12."""

SCALES = {
    "gray": "000000 191919 333333 4c4c4c 666666 808080 999999 b3b3b3 cccccc e6e6e6 ffffff",
    "viridis": "440154 482475 414487 355f8d 2a788e 21918c 22a884 44bf70 7ad151 bddf26 fde725",
    "magma": "000004 140e36 3b0f70 641a80 8c2981 b73779 de4968 f7705c fe9f6d fecf92 fcfdbf",
    "turbo": "30123b 4559cb 3e9bfe 19d5cd 46f884 a4fc3c e1dd37 fea431 f05b12 c32503 7a0403",
    "RdYlGn": "a50026 d62f27 f46d43 fdad60 fee08b feffbe d9ef8b a5d86a 66bd63 199750 006837",
    "BrBG": "543005 8b500a bf812d dec17b f6e8c3 f4f5f5 c7eae5 7fccc0 35978f 01655d 003c30",
    "RdBu": "67001f b1182b d6604d f3a481 fddbc7 f6f7f7 d1e5f0 90c4dd 4393c3 2065ab 053061",
}
"""Colour scales: colours at equal distances from the lower to the upper end, from matplotlib."""


def gradient(name: str) -> list[str]:
    """The colours of a scale, as CSS writes them."""
    return [f"#{colour}" for colour in SCALES[name].split()]


@functools.cache
def colour_scale(name: str) -> np.ndarray:
    """A colour scale, uint8 (256, 3).

    Raises:
        UnknownNameError: There is no scale of this name.
    """
    if name not in SCALES:
        raise UnknownNameError("colour scale", name, SCALES)
    colours = np.array([list(bytes.fromhex(colour)) for colour in SCALES[name].split()])
    stops = np.linspace(0, 255, len(colours))
    table = [np.interp(np.arange(256), stops, channel) for channel in colours.T]
    return np.stack(table, axis=1).round().astype(np.uint8)


def stretched(values: np.ndarray, low: float, high: float, gamma: float = 1.0) -> np.ndarray:
    """Values from `low` to `high` as uint8, 0 to 255; NaN is 0."""
    share = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-9), 0, 1)
    return (share ** (1 / gamma) * 255).round().astype(np.uint8)


def composite(
    bands: Sequence[np.ndarray], limits: Sequence[tuple[float, float]], gamma: float
) -> np.ndarray:
    """Three bands as red, green and blue: uint8 (rows, columns, 4), transparent without data."""
    colours = [
        stretched(band, low, high, gamma) for band, (low, high) in zip(bands, limits, strict=True)
    ]
    known = ~np.isnan(np.stack(bands)).any(axis=0)
    return np.dstack([*colours, known.astype(np.uint8) * 255])


def coloured(values: np.ndarray, limits: tuple[float, float], scale: str) -> np.ndarray:
    """Values in a colour scale: uint8 (rows, columns, 4), transparent without data."""
    colours = colour_scale(scale)[stretched(values, *limits)]
    return np.dstack([colours, (~np.isnan(values)).astype(np.uint8) * 255])


def classified(values: np.ndarray, legend: Sequence[LandCoverClass]) -> np.ndarray:
    """Classes in the colours of a legend: uint8 (rows, columns, 4), other values transparent."""
    table = np.zeros((256, 4), np.uint8)
    for entry in legend:
        table[entry.value] = entry.colour
    known = ~np.isnan(values)
    image = table[np.where(known, values, 0).astype(np.uint8)]
    image[~known] = 0
    return image


def png(image: np.ndarray) -> bytes:
    """An image of uint8 (rows, columns, 4) as PNG; compressed little, since it stays here."""
    buffer = io.BytesIO()
    Image.fromarray(image, "RGBA").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
