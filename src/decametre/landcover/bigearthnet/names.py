"""Patch names of BigEarthNet: the acquisition, and the patch's position on its tile.

    v1  S2A_MSIL2A_20170617T113321_4_55
    v2  S2A_MSIL2A_20170617T113321_N9999_R080_T29UPU_04_55

The last two numbers are column and row on the tile's grid of 1200 m, counted from its north-western
corner. v2 pads them with a zero. They are equal in both versions for all 480,038 patches. A name of
v1 does not state the tile, and its time may be some seconds late: BigEarthNet changed it where two
tiles would have shared a name. It also lacks a leading zero (`T94033`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from decametre.errors import NotAProductError, PatchError
from decametre.sentinel2.product import Product

_NAME = re.compile(
    r"(?P<platform>S2[A-Z])_MSIL(?:1C|2A)_(?P<date>\d{8})T(?P<time>\d{5,6})"
    r"(?:_N\d{4}_R\d{3}_T(?P<tile>\d{2}[A-Z]{3}))?(?:_\d{8}T\d{6})?(?:\.SAFE)?"
)

_COLUMN_LETTERS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROW_LETTERS = "ABCDEFGHJKLMNPQRSTUV"
_BAND_LETTERS = "NPQRSTUVWX"  # from the equator northward
_SQUARE, _CYCLE = 100_000, 2_000_000  # metres

_SAME_PASS = timedelta(minutes=50)
"""Half an orbit: sources state the start of the datatake, of the granule, or some seconds more."""


@dataclass(frozen=True, order=True)
class Acquisition:
    """One tile at one time, as stated in a patch name.

    Attributes:
        platform: `S2A`, `S2B`, ...
        sensed: Start of the datatake in UTC.
        tile: MGRS tile such as `33UUP`; empty in names of BigEarthNet v1.
    """

    platform: str
    sensed: datetime
    tile: str

    def __str__(self) -> str:
        tile = f" T{self.tile}" if self.tile else ""
        return f"{self.platform} {self.sensed:%Y-%m-%d %H:%M}{tile}"

    def is_of(self, product: Product) -> bool:
        """Whether a product is of this acquisition, at any level and baseline.

        False if the product does not state platform, tile or time.
        """
        if not (product.platform and product.datetime and product.tile):
            return False
        start = datetime.fromisoformat(product.datetime)
        start = start if start.tzinfo else start.replace(tzinfo=UTC)
        return (
            product.platform == f"sentinel-{self.platform[1:].lower()}"
            and self.tile in ("", product.tile)
            and abs(start - self.sensed) < _SAME_PASS
        )


def parse_acquisition(text: str) -> Acquisition | None:
    """Parse a product name, or a patch name without column and row.

    Returns:
        The acquisition; None if the text is neither.
    """
    match = _NAME.fullmatch(text)
    if not match:
        return None
    try:
        sensed = datetime.strptime(match["date"] + match["time"].zfill(6), "%Y%m%d%H%M%S")
    except ValueError:
        # BigEarthNet v1 has invented times with 60 seconds (`T94160`).
        minute = datetime.strptime(match["date"] + match["time"].zfill(6)[:4], "%Y%m%d%H%M")
        sensed = minute + timedelta(seconds=int(match["time"][-2:]))
    return Acquisition(match["platform"], sensed.replace(tzinfo=UTC), match["tile"] or "")


def split_name(name: str) -> tuple[str, int, int] | None:
    """Split a patch name into the part before the numbers, column and row; None if it has none."""
    stem, _, numbers = name.rpartition("_")
    stem, _, column = stem.rpartition("_")
    if not (column.isdecimal() and numbers.isdecimal()):
        return None
    return stem, int(column), int(numbers)


def tile_corner(product: Product) -> tuple[float, float]:
    """Easting and northing of the north-western corner of the product's tile, in metres.

    A tile begins at the corner of its 100 km square of the MGRS, moved outward to whole pixels of
    60 m. The product may be a part of the tile. Tests compare this with real patches.

    Raises:
        NotAProductError: The product does not state its tile.
    """
    if not product.tile:
        raise NotAProductError(
            f"{product.source}: does not state its MGRS tile, which the columns and rows in "
            "BigEarthNet's names refer to; give the patches as squares with coordinates"
        )
    return corner_of(product.tile, product.grid.top)


def corner_of(tile: str, near: float | None = None) -> tuple[float, float]:
    """Easting and northing of the north-western corner of an MGRS tile, in metres.

    Args:
        tile: Such as `33UUP`.
        near: A northing within 1000 km of it; by default that of its band of latitude, in the
            northern hemisphere.
    """
    zone, band, column, row = int(tile[:2]), tile[2], tile[3], tile[4]
    if near is None:
        near = (_BAND_LETTERS.index(band) * 8 + 4) * 110_900.0  # bands of 8 degrees
    easting = (_COLUMN_LETTERS[(zone - 1) % 3].index(column) + 1) * _SQUARE
    # Letters of rows repeat every 2000 km; in even zones they begin five letters later.
    letter = _ROW_LETTERS.index(row) - (0 if zone % 2 else 5)
    northing = (letter % len(_ROW_LETTERS) + 1) * _SQUARE
    northing += round((near - northing) / _CYCLE) * _CYCLE
    return easting // 60 * 60, -(-northing // 60) * 60


def read_names(path: Path) -> list[tuple[str, str]]:
    """Read a published list of patch names.

    Args:
        path: `.parquet` with columns `patch_id` and maybe `s2v1_name`, as BigEarthNet's tables; or
            text, of which the first entry of each line is read.

    Returns:
        Each name with the patch's name in BigEarthNet v1, which is empty if unknown.

    Raises:
        PatchError: The list cannot be read.
    """
    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
            aliases = table["s2v1_name"].fillna("") if "s2v1_name" in table else [""] * len(table)
            return list(zip(table["patch_id"], aliases, strict=True))
        lines = path.read_text(encoding="utf-8").splitlines()
        names = [line.split(",")[0].strip().strip('"') for line in lines]
        return [(n, "") for n in names if n and not n.startswith("#") and n != "patch_id"]
    except (OSError, ValueError, KeyError) as error:
        raise PatchError(f"{path}: no list of names that can be read ({error})") from error
