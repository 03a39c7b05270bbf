"""From digital numbers (DN) to reflectance and back.

reflectance = DN x scale + offset. Since processing baseline 04.00, products usually have an
offset of -1000 DN, which is -0.1 in reflectance. It is read from the metadata, never derived from
the sensing date.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

NODATA = 0
SATURATED = 65535
DN_MIN, DN_MAX = 1, 65534
"""Range of the DN of pixels with data, between nodata and saturated."""


@dataclass(frozen=True)
class Radiometry:
    """Conversion between the DN and the reflectance of one band.

    Attributes:
        scale: Reflectance per DN, 1e-4 for a quantification value of 10000.
        offset: Added to DN x scale, in reflectance (-0.1 for a RADIO_ADD_OFFSET of -1000).
        nodata: DN of a pixel without data.
        saturated: DN of a saturated pixel.
    """

    scale: float = 1e-4
    offset: float = 0.0
    nodata: float = NODATA
    saturated: float = SATURATED

    dtype: ClassVar[str] = "uint16"
    """Data type of the pixels."""

    @property
    def offset_dn(self) -> int:
        """The offset in DN, as in the product's metadata: usually -1000 or 0."""
        return round(self.offset / self.scale)

    def to_reflectance(self, dn: np.ndarray) -> np.ndarray:
        """DN to reflectance, float32, same shape. Mask pixels without data with `valid`."""
        return dn.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)

    def to_dn(self, reflectance: np.ndarray) -> np.ndarray:
        """Reflectance to DN, uint16, rounded and clipped to the range of pixels with data.

        So a pixel with data never becomes nodata (0) or saturated (65535), and negative values
        become DN 1.
        """
        dn = np.rint((reflectance - np.float32(self.offset)) * np.float32(1 / self.scale))
        return np.clip(dn, DN_MIN, DN_MAX).astype(np.uint16)

    def valid(self, dn: np.ndarray) -> np.ndarray:
        """True where a pixel holds a measurement: neither nodata nor saturated."""
        return (dn != self.nodata) & (dn != self.saturated)


@dataclass(frozen=True)
class ReflectanceRadiometry(Radiometry):
    """The radiometry of a band whose pixels are reflectance, float32, with NaN without data.

    `scale` states which step of reflectance counts as one DN in reports.
    """

    nodata: float = math.nan
    saturated: float = math.nan

    dtype: ClassVar[str] = "float32"

    def to_reflectance(self, dn: np.ndarray) -> np.ndarray:
        """The pixels themselves, float32."""
        return dn.astype(np.float32, copy=False)

    def to_dn(self, reflectance: np.ndarray) -> np.ndarray:
        """The pixels themselves, as a copy, float32."""
        return reflectance.astype(np.float32)

    def valid(self, dn: np.ndarray) -> np.ndarray:
        """True where a pixel is a finite number."""
        return np.isfinite(dn)
