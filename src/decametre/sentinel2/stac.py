"""Opening a STAC item, whoever published it.

Catalogues differ in what they call a band, and in where they state the radiometric offset:

| catalogue | assets | offset |
|---|---|---|
| Earth Search v1 | `blue`, `nir08` | `earthsearch:boa_offset_applied`, or `raster:bands` |
| Planetary Computer | `B02`, `B8A` | nowhere; follows from `s2:processing_baseline` |
| Copernicus Data Space | `B02_10m`, `B8A_20m` | `raster:offset` of the asset |
| decametre's own scenes | `B02`, `B8A` | `raster:offset` of the asset's band |

Nothing here asks which catalogue an item is from: every name is looked for, and the first
statement about the offset counts, in the order of `resolve_offsets`. What was decided, and from
what, stands in `Product.offset_reason`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pystac

from decametre.errors import CorruptDataError, MissingBandError, NotAProductError, RadiometryError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.documents import read_document
from decametre.sentinel2.hrefs import gdal_path, resolve_href
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.raster import BandGrid, common_grid, read_grid
from decametre.sentinel2.stac_metadata import (
    CARRIED,
    band_assets,
    find_baseline,
    find_level,
    find_platform,
    find_tile,
    radiometry_of,
    resolve_offsets,
    stated_radiometry,
)

NO_ACCESS = re.compile(
    r"HTTP response code|CURL error|AWS|does not exist|denied|signature", re.IGNORECASE
)
"""What GDAL, or the server through it, says of a remote file that is not there or not for us."""

MAX_ITEM_BYTES = 32 << 20
"""The largest item that is read; real ones have a tenth of a megabyte."""


def open_stac(source: str, offset: float | None = None) -> Product:
    """Open a STAC item of a Sentinel-2 scene.

    Args:
        source: Path of the item, or its file://, http:// or https:// URL.
        offset: Radiometric offset in DN for all bands; None follows the item.

    Returns:
        The product; no pixel has been read, but every band file has been opened once.

    Raises:
        NotAProductError: The item cannot be reached or understood, or has no Sentinel-2 band.
        MissingBandError: It has assets for bands, and not one of the files is there.
        CorruptDataError: A band file is there, but is no image.
        GridError: The bands' grids do not fit one another.
        RadiometryError: A scale or offset that no DN can have.
    """
    if offset is not None and not math.isfinite(offset):
        raise RadiometryError(f"the offset is {offset}, expected a number of DN such as -1000")
    item = read_item(source)
    check_platform(source, item.properties)
    keys = band_assets(item.assets)
    if not keys:
        raise NotAProductError(
            f"{source}: no Sentinel-2 band among the item's assets ({_listed(item.assets)})"
        )
    stated = {name: stated_radiometry(key, item.assets[key]) for name, key in keys.items()}
    baseline = find_baseline(item)
    offsets, reason = resolve_offsets(item.properties, stated, baseline, offset)
    found, missing = probe({name: _hrefs(source, item.assets[key]) for name, key in keys.items()})
    if not found:
        where = next(iter(missing.values()))
        raise MissingBandError(f"{source}: not one of the item's band files is there; {where}")
    no_asset = f"the item has no asset for it, only {_listed(item.assets)}"
    return Product(
        id=item.id,
        source=source,
        level=find_level(item),
        baseline=baseline,
        platform=find_platform(item),
        datetime=item.datetime.isoformat() if item.datetime else None,
        tile=find_tile(item),
        grid=common_grid(source, {name: grid for name, (_, grid) in found.items()}),
        bands={
            name: BandFile(ALL_BANDS[name], path, radiometry_of(stated[name], offsets[name]))
            for name, (path, _) in found.items()
        },
        missing={name: missing.get(name, no_asset) for name in ALL_BANDS if name not in found},
        offset_reason=reason,
        properties={
            key: value
            for key, value in item.properties.items()
            if CARRIED.fullmatch(key) and value is not None
        },
        asked_offset_dn=offset,
    )


# The item ---------------------------------------------------------------------------------------


def read_item(source: str) -> pystac.Item:
    """Read a STAC item, of any version that pystac understands.

    `pystac.Item.from_file` is not used: it has no timeout, and cuts paths at `#`.

    Args:
        source: Path or URL.

    Raises:
        NotAProductError: Out of reach, no JSON, or no STAC item.
    """
    document = read_document(source, max_bytes=MAX_ITEM_BYTES)
    kind = document.get("type")
    if kind != "Feature":
        raise NotAProductError(
            f"{source}: JSON, but not a STAC item (its type is {kind}, expected Feature); "
            "give the item of one scene"
        )
    try:
        return pystac.Item.from_dict(document)
    except Exception as error:  # pystac raises whatever it trips over in a stranger's JSON
        raise NotAProductError(
            f"{source}: not a STAC item ({type(error).__name__}: {error})"
        ) from error


def check_platform(source: str, properties: Mapping[str, Any]) -> None:
    """Refuse another satellite's item; Landsat's assets have the same names as Earth Search's.

    Raises:
        NotAProductError: The item names a platform or constellation, and none is Sentinel-2.
    """
    names = [str(properties[key]) for key in ("constellation", "platform") if properties.get(key)]
    # Planetary Computer writes "Sentinel 2".
    if names and not any(re.match(r"sentinel[- _]?2", name, re.IGNORECASE) for name in names):
        raise NotAProductError(f"{source}: an item of {' '.join(names)}, not of Sentinel-2")


# Its band files ---------------------------------------------------------------------------------


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)) or "none"


def _hrefs(source: str, asset: pystac.Asset) -> list[str]:
    """Where an asset may be read, best first: its own href, then the alternates."""
    alternates = asset.extra_fields.get("alternate")
    others = alternates.values() if isinstance(alternates, dict) else ()
    hrefs = [asset.href, *(other.get("href") for other in others if isinstance(other, dict))]
    return [resolve_href(source, href) for href in hrefs if href]


def probe(
    hrefs: Mapping[str, list[str]],
) -> tuple[dict[str, tuple[str, BandGrid]], dict[str, str]]:
    """Open each band file once; all at a time, since a remote one takes a while.

    Args:
        hrefs: Where each band may be read, best first.

    Returns:
        For each band that is there, what GDAL opens and the grid; for each other one, where it
        was looked for.

    Raises:
        CorruptDataError: A file is there, but is no image.
    """
    with ThreadPoolExecutor(max_workers=len(hrefs)) as pool:
        results = dict(zip(hrefs, pool.map(_probe_band, hrefs, hrefs.values()), strict=True))
    found = {name: result for name, result in results.items() if not isinstance(result, str)}
    return found, {name: result for name, result in results.items() if isinstance(result, str)}


def _probe_band(name: str, hrefs: list[str]) -> tuple[str, BandGrid] | str:
    """What GDAL opens and the grid, or in words where the file was looked for."""
    looked = []
    for href in hrefs:
        path = gdal_path(href)
        if not path.startswith("/vsi") and not Path(path).is_file():
            looked.append(href)
            continue
        try:
            return path, read_grid(name, path)
        except CorruptDataError as error:
            reason = str(error.__cause__)
            if not NO_ACCESS.search(reason):
                raise
            looked.append(f"{href} ({reason})")
    return f"looked for {' and '.join(looked)}"
