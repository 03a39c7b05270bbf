"""Opening a STAC item of any catalog.

Catalogs differ in the names of bands and in how they state the radiometric offset:

| catalog | assets | offset |
|---|---|---|
| Earth Search v1 | `blue`, `nir08` | `earthsearch:boa_offset_applied`, or `raster:bands` |
| Planetary Computer | `B02`, `B8A` | not stated; follows from `s2:processing_baseline` |
| Copernicus Data Space | `B02_10m`, `B8A_20m` | `raster:offset` of the asset |
| EOPF sample service | `product`, `B02_10m`: nodes of one Zarr hierarchy | in its arrays |
| scenes of decametre | `B02`, `B8A` | `raster:offset` of the asset's band |

The code does not depend on the catalog: it searches for all names, and takes the first offset in
the order of `resolve_offsets`. `Product.offset_reason` records the source of the offset.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pystac

from decametre.errors import CorruptDataError, MissingBandError, NotAProductError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.documents import check_hrefs, read_document
from decametre.sentinel2.eopf import open_eopf
from decametre.sentinel2.hrefs import gdal_path, resolve_href
from decametre.sentinel2.masks import mask_assets
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.raster import BandGrid, common_grid, read_grid
from decametre.sentinel2.references import check_reference
from decametre.sentinel2.stac_metadata import (
    CARRIED,
    band_assets,
    declared_radiometry,
    facts_of,
    find_baseline,
    find_crs,
    radiometry_of,
    resolve_offsets,
)
from decametre.sentinel2.zarr_store import zarr_root

NO_ACCESS = re.compile(
    r"HTTP response code|CURL error|AWS|does not exist|denied|signature", re.IGNORECASE
)
"""Error messages of GDAL and servers about a remote file that is missing or not accessible."""

ORIGIN = "decametre:origin"
"""Field of an item that a fleet has saved: the URL that it came from."""

MAX_HREFS = 8
"""Number of hrefs of one asset that are tried: its own, and alternates."""

MAX_ITEM_BYTES = 32 << 20
"""Size limit of an item in bytes; usual items have 0.1 MB."""


def open_stac(source: str, offset: float | None = None) -> Product:
    """Open a STAC item of a Sentinel-2 scene.

    Args:
        source: Path of the item, or its file://, http:// or https:// URL.
        offset: Radiometric offset in DN for all bands; None: from the item.

    Returns:
        The product. Every band file was opened once, but no pixels were read.

    Raises:
        NotAProductError: The item cannot be reached or understood, or has no Sentinel-2 band.
        MissingBandError: It has assets for bands, but none of the files exists, or a server does
            not respond now.
        DocumentError: It is from a server, and names what it must not name.
        CorruptDataError: A band file exists, but is not an image.
        GridError: The grids of the bands are inconsistent.
        RadiometryError: A scale or offset is not usable.
    """
    item = read_item(source)
    check_platform(source, item.properties)
    origin = origin_of(item, source)
    if root := _zarr_root(source, item):
        check_reference(origin, root)
        return dataclasses.replace(open_eopf(root, offset, item.id), source=source)
    keys = band_assets(item.assets)
    if not keys:
        raise NotAProductError(
            f"{source}: no Sentinel-2 band among the item's assets ({_listed(item.assets)})"
        )
    declared = {name: declared_radiometry(key, item.assets[key]) for name, key in keys.items()}
    baseline = find_baseline(item)
    offsets, reason = resolve_offsets(item.properties, declared, baseline, offset)
    hrefs = {name: _hrefs(source, item.assets[key]) for name, key in keys.items()}
    masks = {
        name: _hrefs(source, item.assets[key]) for name, key in mask_assets(item.assets).items()
    }
    check_hrefs(origin, itertools.chain(*hrefs.values(), *masks.values()))
    found, missing = probe(hrefs)
    if not found:
        where = next(iter(missing.values()))
        raise MissingBandError(f"{source}: none of the item's band files exists; {where}")
    no_asset = f"the item has no asset for it, only {_listed(item.assets)}"
    return Product(
        **facts_of(item),
        source=source,
        datetime=item.datetime.isoformat() if item.datetime else None,
        grid=common_grid(source, {name: grid for name, (_, grid) in found.items()}, find_crs(item)),
        bands={
            name: BandFile(ALL_BANDS[name], path, radiometry_of(declared[name], offsets[name]))
            for name, (path, _) in found.items()
        },
        missing={name: missing.get(name, no_asset) for name in ALL_BANDS if name not in found},
        offset_reason=reason,
        properties={
            key: value
            for key, value in item.properties.items()
            if CARRIED.fullmatch(key) and value is not None
        },
        user_offset_dn=offset,
        masks=_existing(masks),
    )


# The item ---------------------------------------------------------------------------------------


def read_item(source: str) -> pystac.Item:
    """Read a STAC item of any version that pystac supports.

    `pystac.Item.from_file` is not used: it has no timeout, and cuts paths at `#`.

    Args:
        source: Path or URL.

    Raises:
        NotAProductError: It cannot be reached, or is not JSON or not a STAC item.
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
    except Exception as error:  # pystac raises many types on invalid items
        raise NotAProductError(
            f"{source}: not a STAC item ({type(error).__name__}: {error})"
        ) from error


def check_platform(source: str, properties: Mapping[str, Any]) -> None:
    """Check that an item is of Sentinel-2; Landsat's assets have the same names.

    Raises:
        NotAProductError: The item names other platforms or constellations only.
    """
    names = [str(properties[key]) for key in ("constellation", "platform") if properties.get(key)]
    # Planetary Computer writes "Sentinel 2".
    if names and not any(re.match(r"sentinel[- _]?2", name, re.IGNORECASE) for name in names):
        raise NotAProductError(f"{source}: an item of {' '.join(names)}, not of Sentinel-2")


def origin_of(item: pystac.Item, source: str) -> str:
    """Path or URL that an item came from, which determines what it may name.

    Args:
        item: The item.
        source: Its path or URL; a fleet saves items of servers in files.
    """
    return str(item.extra_fields.get(ORIGIN) or source)


# Its band files ---------------------------------------------------------------------------------


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)) or "none"


def _hrefs(source: str, asset: pystac.Asset) -> list[str]:
    """Hrefs of an asset, best first: its own, then the alternates."""
    alternates = asset.extra_fields.get("alternate")
    others = alternates.values() if isinstance(alternates, dict) else ()
    hrefs = [asset.href, *(other.get("href") for other in others if isinstance(other, dict))]
    return [resolve_href(source, href) for href in hrefs[:MAX_HREFS] if isinstance(href, str)]


def _existing(hrefs: Mapping[str, list[str]]) -> dict[str, str]:
    """GDAL's names of the scene classification and of masks; local files must exist."""
    found = {}
    for name in hrefs:
        paths = [gdal_path(href) for href in hrefs[name]]
        there = [path for path in paths if path.startswith("/vsi") or Path(path).is_file()]
        if there:
            found[name] = there[0]
    return found


def _zarr_root(source: str, item: pystac.Item) -> str | None:
    """The Zarr hierarchy that holds the bands, if the item's assets are its groups or arrays."""
    hrefs = [href for asset in item.assets.values() for href in _hrefs(source, asset)]
    return next(filter(None, map(zarr_root, hrefs)), None)


def probe(
    hrefs: Mapping[str, list[str]],
) -> tuple[dict[str, tuple[str, BandGrid]], dict[str, str]]:
    """Open each band file once, all in parallel since remote files are slow.

    Args:
        hrefs: Hrefs of each band, best first.

    Returns:
        GDAL's name and the grid of each available band, and the places searched for each missing
        band.

    Raises:
        CorruptDataError: A file exists, but is not an image.
        MissingBandError: A server does not respond now.
    """
    with ThreadPoolExecutor(max_workers=len(hrefs)) as pool:
        results = dict(zip(hrefs, pool.map(_probe_band, hrefs, hrefs.values()), strict=True))
    found = {name: result for name, result in results.items() if not isinstance(result, str)}
    return found, {name: result for name, result in results.items() if isinstance(result, str)}


def _probe_band(name: str, hrefs: list[str]) -> tuple[str, BandGrid] | str:
    """GDAL's name and the grid of a band, or the places searched as text.

    Raises:
        CorruptDataError: A file exists, but is not an image.
        MissingBandError: A server does not respond now, and no other place has the band.
    """
    searched, transient = [], False
    for href in hrefs:
        path = gdal_path(href)
        if not path.startswith("/vsi") and not Path(path).is_file():
            searched.append(href)
            continue
        try:
            return path, read_grid(name, path)
        except CorruptDataError as error:
            reason = str(error.__cause__)
            if not NO_ACCESS.search(reason):
                raise
            transient |= error.transient
            searched.append(f"{href} ({reason})")
    places = f"searched for {' and '.join(searched)}"
    if transient:
        raise MissingBandError(f"band {name}: {places}; try again later", transient=True)
    return places
