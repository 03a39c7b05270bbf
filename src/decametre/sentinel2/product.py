"""A Sentinel-2 product: its bands, their files, and the meaning of their numbers.

Every reader (SAFE folder, zip, STAC item) returns a `Product`, so other code does not depend on the
format of the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from decametre.errors import MissingBandError
from decametre.sentinel2.bands import Band
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.radiometry import Radiometry


class BandImage(Protocol):
    """The pixels of one band on its native grid."""

    @property
    def block_rows(self) -> int:
        """Rows that are decoded at a time."""

    def read(self, window: Window) -> np.ndarray:
        """The DN in a window in native pixels, (rows, columns)."""


class MaskImage(Protocol):
    """The pixels of a raster that GDAL does not read; see `sentinel2.masks`."""

    @property
    def where(self) -> str:
        """Its path or URL, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def read(self, window: Window) -> np.ndarray:
        """The values in a window in native pixels, (rows, columns)."""


@dataclass(frozen=True)
class BandFile:
    """One band of a product.

    Attributes:
        band: The band.
        path: GDAL's name of the file: a path, or `/vsizip/...`, `/vsicurl/...`, `/vsis3/...`. If
            there is an `image`, its name for messages.
        radiometry: Scale, offset, nodata and saturated value of its DN.
        checksum: Checksum of the file in the product's manifest, such as `md5:5d41...`, or None.
        image: The pixels, if GDAL does not read them from `path`.
    """

    band: Band
    path: str
    radiometry: Radiometry
    checksum: str | None = None
    image: BandImage | None = None


@dataclass(frozen=True)
class Product:
    """A Sentinel-2 product whose metadata are read, but no pixels.

    Attributes:
        id: The product's name without `.SAFE`, or the STAC item's id.
        source: The path or URL that the user gave.
        level: `L1C`, `L2A`, or `unknown`.
        baseline: Processing baseline such as `05.09`, or None if unknown.
        platform: `sentinel-2a`, `sentinel-2b`, `sentinel-2c`, or None.
        datetime: Start of sensing, ISO 8601 in UTC, or None.
        tile: MGRS tile such as `31TCJ`, or None.
        grid: The 10 m grid.
        bands: The available bands by name, in order of wavelength.
        missing: For each missing band, the places searched, as text for the message.
        offset_reason: Source of the radiometric offset, as text for the log.
        properties: STAC properties that are copied to results (cloud cover, sun and view angles,
            orbit).
        user_offset_dn: Radiometric offset in DN given by the user; None: from the metadata.
        masks: Scene classification, cloud masks and the like, by name in `masks.MASKS`: GDAL's name
            of the file, or the pixels.
    """

    id: str
    source: str
    level: str
    baseline: str | None
    platform: str | None
    datetime: str | None
    tile: str | None
    grid: Grid
    bands: Mapping[str, BandFile]
    missing: Mapping[str, str]
    offset_reason: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    user_offset_dn: float | None = None
    masks: Mapping[str, str | MaskImage] = field(default_factory=dict)

    def band_files(self, names: Iterable[str]) -> list[BandFile]:
        """The files of these bands.

        Raises:
            MissingBandError: The product lacks one. The message names the places searched.
        """
        found = []
        for name in names:
            if name not in self.bands:
                where = self.missing.get(name, self.source)
                raise MissingBandError(f"{self.id}: band {name} is missing: {where}")
            found.append(self.bands[name])
        return found
