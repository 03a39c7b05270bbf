"""A Sentinel-2 product: which bands, where they lie, and what their numbers mean.

`Product` is the one form into which every reader (SAFE folder, zip, STAC item) turns its input.
Whoever holds a `Product` need not know where it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from decametre.errors import MissingBandError
from decametre.sentinel2.bands import Band
from decametre.sentinel2.grid import Grid
from decametre.sentinel2.radiometry import Radiometry


@dataclass(frozen=True)
class BandFile:
    """One band of a product.

    Attributes:
        band: Which band.
        path: What GDAL opens: a file's path, or `/vsizip/...`, `/vsicurl/...`, `/vsis3/...`.
        radiometry: Scale, offset, nodata and saturated value of its DN.
    """

    band: Band
    path: str
    radiometry: Radiometry


@dataclass(frozen=True)
class Product:
    """A Sentinel-2 product, opened but not read.

    Attributes:
        id: The product's name without `.SAFE`, or the STAC item's id.
        source: What the user named: a path or a URL.
        level: `L1C`, `L2A`, or `unknown`.
        baseline: Processing baseline such as `05.09`, or None where nothing says it.
        platform: `sentinel-2a`, `sentinel-2b`, `sentinel-2c`, or None.
        datetime: Start of sensing, ISO 8601 in UTC, or None.
        tile: MGRS tile such as `31TCJ`, or None.
        grid: The 10 m grid.
        bands: The bands that are there, by name, in order of wavelength.
        missing: For each band that is not there, where it was looked for, in words for the message.
        offset_reason: How the radiometric offset was decided, in words for the log.
        properties: STAC properties that the result carries over (cloud cover, sun and view
            angles, orbit).
        asked_offset_dn: Radiometric offset that the user asked for; None: as the product says.
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
    asked_offset_dn: float | None = None

    def band_files(self, names: Iterable[str]) -> list[BandFile]:
        """The files of these bands.

        Raises:
            MissingBandError: The product lacks one; says where it was looked for.
        """
        found = []
        for name in names:
            if name not in self.bands:
                where = self.missing.get(name, self.source)
                raise MissingBandError(f"{self.id}: band {name} is missing: {where}")
            found.append(self.bands[name])
        return found
