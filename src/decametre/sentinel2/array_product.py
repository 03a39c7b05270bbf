"""Products whose pixels are arrays, in memory or computed when they are read.

Integers are DN, and reflectance = DN x scale + offset. Floating-point numbers are reflectance, with
NaN without data. Whatever contradicts this is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from decametre.errors import RadiometryError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.radiometry import (
    NODATA,
    SATURATED,
    Radiometry,
    ReflectanceRadiometry,
)
from decametre.sentinel2.raster import BandGrid, common_grid
from decametre.sentinel2.stac_metadata import DEFAULT_SCALE, SCALES

MAX_REFLECTANCE = 10.0
"""No pixel is brighter; the largest DN is 6.55. Larger values are DN or percent."""

NO_CRS = "none"
"""The CRS of a product whose arrays have no position on the ground."""

OFFSET_REMEDY = "offset=-1000 (DN of baseline 04.00 and later) or offset='none'"


class Pixels(Protocol):
    """A two-dimensional array, such as numpy's."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type."""

    def __getitem__(self, at: Any) -> Any:
        """The pixels at an index of two slices."""


@dataclass(frozen=True)
class ArrayImage:
    """A band in an array; see `BandImage`.

    Attributes:
        name: Name of the band, for messages.
        pixels: (rows, columns), DN or reflectance.
        block_rows: Rows that are read at a time.
    """

    name: str
    pixels: Pixels
    block_rows: int = 512

    def read(self, window: Window) -> np.ndarray:
        """The pixels in a window in native pixels, uint16 or float32.

        Raises:
            RadiometryError: A pixel is neither a DN nor reflectance.
        """
        return self.checked(np.asarray(self.pixels[window.slices]))

    def checked(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels as uint16 or float32; errors as for `read`."""
        if pixels.dtype == np.uint16:
            return pixels
        if pixels.dtype.kind in "iu":
            if pixels.size and not 0 <= pixels.min() <= pixels.max() <= SATURATED:
                raise RadiometryError(
                    f"band {self.name}: values from {pixels.min()} to {pixels.max()}; DN are "
                    f"between 0 and {SATURATED}, with 0 as nodata"
                )
            return pixels.astype(np.uint16)
        values = pixels.astype(np.float32, copy=False)
        highest = float(values.max(where=np.isfinite(values), initial=0))
        if highest > MAX_REFLECTANCE:
            raise RadiometryError(
                f"band {self.name}: the value {highest:g} cannot be reflectance, which "
                "floating-point bands must have; convert DN to uint16, or percent to fractions"
            )
        return values


@dataclass(frozen=True)
class BandArray:
    """One band of a product in memory.

    Attributes:
        pixels: (rows, columns) on the native grid.
        scale: Reflectance per DN; None: 1e-4.
        offset: In reflectance; None: not stated. Both are for integers only.
        nodata: DN of a pixel without data; None: 0.
        grid: The native grid; None: the array has no position on the ground.
        block_rows: Rows that are read at a time.
    """

    pixels: Pixels
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    grid: BandGrid | None = None
    block_rows: int = 512


def array_product(
    bands: Mapping[str, BandArray],
    source: str,
    user_offset_dn: float | None = None,
    **metadata: Any,
) -> Product:
    """A product of arrays; no pixel is read.

    Args:
        bands: At least one band, by name.
        source: Where the arrays come from, for messages.
        user_offset_dn: Radiometric offset of integers in DN, from the user; None: as stated.
        metadata: Fields of `Product` that are known, such as `datetime`.

    Raises:
        GridError: The shapes or grids of the bands do not fit together.
        RadiometryError: Scale, offset or data type are ambiguous or cannot be used.
    """
    files, reasons = {}, []
    for name in (name for name in ALL_BANDS if name in bands):
        radiometry, reason = _radiometry(name, bands[name], user_offset_dn)
        image = ArrayImage(name, bands[name].pixels, bands[name].block_rows)
        files[name] = BandFile(ALL_BANDS[name], f"{source} {name}", radiometry, image=image)
        reasons.append(reason)
    if len({file.radiometry.dtype for file in files.values()}) > 1:
        kinds = ", ".join(f"{name} {bands[name].pixels.dtype}" for name in files)
        raise RadiometryError(f"{source}: some bands are DN and some reflectance ({kinds})")
    absent = f"not among the bands of the {source}, which has {', '.join(files)}"
    stated: dict[str, Any] = {
        "id": source,
        "level": "unknown",
        "baseline": None,
        "platform": None,
        "datetime": None,
        "tile": None,
    }
    return Product(
        **stated | metadata,
        source=source,
        grid=common_grid(source, {name: _grid(name, bands[name]) for name in files}),
        bands=files,
        missing={name: absent for name in ALL_BANDS if name not in files},
        offset_reason=reasons[0] if len(set(reasons)) == 1 else "by band: " + "; ".join(reasons),
        user_offset_dn=user_offset_dn,
    )


def _grid(name: str, band: BandArray) -> BandGrid:
    if band.grid is not None:
        return band.grid
    gsd, (rows, columns) = float(ALL_BANDS[name].gsd), band.pixels.shape
    return BandGrid(NO_CRS, (gsd, 0.0, 0.0, 0.0, -gsd, 0.0), columns, rows)


def _radiometry(name: str, band: BandArray, user_offset_dn: float | None) -> tuple[Radiometry, str]:
    """The radiometry of a band, and where its offset comes from."""
    kind = band.pixels.dtype.kind
    if kind == "f":
        return _of_reflectance(name, band, user_offset_dn)
    if kind not in "iu":
        raise RadiometryError(
            f"band {name}: has {band.pixels.dtype}; give DN as integers, or reflectance as floats"
        )
    scale = DEFAULT_SCALE if band.scale is None else band.scale
    if not SCALES[0] <= scale <= SCALES[1]:
        raise RadiometryError(
            f"band {name}: scale {scale:g}; expected reflectance per DN such as 0.0001"
        )
    nodata = NODATA if band.nodata is None else band.nodata
    if not (0 <= nodata <= SATURATED and nodata == int(nodata)):
        raise RadiometryError(
            f"band {name}: nodata {nodata:g} is no DN; give uint16, usually with 0 as nodata"
        )
    if user_offset_dn is not None:
        offset, reason = user_offset_dn * scale, f"given by the user: {user_offset_dn:g} DN"
    elif band.offset is None:
        raise RadiometryError(
            f"band {name}: integers without a stated offset are ambiguous; give {OFFSET_REMEDY}"
        )
    elif abs(band.offset) >= 1:
        raise RadiometryError(
            f"band {name}: offset {band.offset:g}; expected reflectance such as -0.1"
        )
    else:
        offset, reason = band.offset, f"stated with the arrays: {band.offset:g} in reflectance"
    return Radiometry(scale=scale, offset=offset, nodata=int(nodata)), reason


def _of_reflectance(
    name: str, band: BandArray, user_offset_dn: float | None
) -> tuple[Radiometry, str]:
    if user_offset_dn is not None or band.scale is not None or band.offset is not None:
        raise RadiometryError(
            f"band {name}: floating-point numbers are reflectance, so scale and offset are "
            "ambiguous; convert DN to uint16, or remove scale and offset that are applied"
        )
    if band.nodata is not None and not np.isnan(band.nodata):
        raise RadiometryError(
            f"band {name}: nodata {band.nodata:g} of reflectance; replace it by NaN"
        )
    return ReflectanceRadiometry(), "none: floating-point numbers are reflectance"
