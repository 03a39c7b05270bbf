"""What a STAC item says of its bands: asset names, scale and offset, level, baseline, tile.

Pure functions of the item; nothing here opens a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pystac

from decametre.errors import RadiometryError
from decametre.sentinel2.bands import ALL_BANDS, Band
from decametre.sentinel2.radiometry import NODATA, SATURATED, Radiometry

EARTH_SEARCH_NAMES = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}
"""Earth Search's name for each band. `nir08` is B8A, and `nir` is B08."""

OFFSET_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
BASELINE = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
OFFSET_SINCE = "04.00"
"""The first processing baseline whose products carry an offset."""

OFFSET_DN = -1000
"""The offset in DN that they carry."""

DEFAULT_SCALE = 1e-4
"""Reflectance per DN where an item states none; every Sentinel-2 product has this one."""

CARRIED = re.compile(
    r"eo:cloud_cover|eo:snow_cover|view:.*|sat:.*|constellation|instruments|(start|end)_datetime"
)
"""Properties that the result carries over."""


@dataclass(frozen=True)
class Stated:
    """What an item states of one band's DN; None where it states nothing.

    Attributes:
        asset: The asset's key, for messages.
        scale: Reflectance per DN.
        offset: In reflectance.
        nodata: DN of a pixel without data.
    """

    asset: str
    scale: float | None
    offset: float | None
    nodata: float | None


def asset_names(band: Band) -> tuple[str, ...]:
    """Keys that a band's asset may have, best first: its native grid, and COG before JPEG 2000."""
    common = EARTH_SEARCH_NAMES[band.name]
    return (f"{band.name}_{band.gsd}m", band.name, common, f"{band.name}-jp2", f"{common}-jp2")


def band_assets(keys: Iterable[str]) -> dict[str, str]:
    """The key of each band's asset, by band; capitals make no difference."""
    by_lower = {key.lower(): key for key in keys}
    found = {}
    for name, band in ALL_BANDS.items():
        there = [by_lower[key.lower()] for key in asset_names(band) if key.lower() in by_lower]
        if there:
            found[name] = there[0]
    return found


# Its radiometry ---------------------------------------------------------------------------------


def stated_radiometry(key: str, asset: pystac.Asset) -> Stated:
    """What the item states of a band's DN.

    STAC 1.1 has it at the asset's band or at the asset, with the prefix `raster:`; the raster
    extension before it had a list of its own, `raster:bands`, without a prefix.

    Args:
        key: The asset's key, for the message.
        asset: The asset; of its bands the first counts.

    Raises:
        RadiometryError: The scale is no positive number, or the offset none at all.
    """
    fields = asset.extra_fields
    places = (_first(fields.get("bands")), fields, _first(fields.get("raster:bands")))

    def look(*spellings: str) -> Any:
        values = (place.get(spelling) for place in places for spelling in spellings)
        return next((value for value in values if value is not None), None)

    scale, offset = look("raster:scale", "scale"), look("raster:offset", "offset")
    for what, value in (("scale", scale), ("offset", offset)):
        number = isinstance(value, int | float) and math.isfinite(value)
        if value is not None and (not number or (what == "scale" and value <= 0)):
            raise RadiometryError(f"asset {key}: raster:{what} is {value!r}, no usable number")
    nodata = look("nodata")  # may be the text "nan", which says nothing of whole numbers
    whole = isinstance(nodata, int | float) and math.isfinite(nodata) and 0 <= nodata <= SATURATED
    return Stated(key, scale, offset, nodata if whole else None)


def _first(bands: Any) -> Mapping[str, Any]:
    return bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}


def resolve_offsets(
    properties: Mapping[str, Any],
    stated: Mapping[str, Stated],
    baseline: str | None,
    given: float | None = None,
) -> tuple[dict[str, float], str]:
    """Decide every band's offset; the first of these that says something counts.

    1. The user.
    2. `...:boa_offset_applied`. True: the DN contain the offset. False: they do not, so the
       baseline tells whether there is one. Earth Search also states `raster:bands` with -0.1,
       but does so whether it was applied or not.
    3. `raster:offset` of the bands.
    4. The processing baseline.

    Args:
        properties: The item's.
        stated: What it states of each band.
        baseline: Processing baseline such as `05.09`, or None.
        given: The user's offset in DN, or None.

    Returns:
        Each band's offset in reflectance, and the reason in one sentence.
    """

    def everywhere(dn: float) -> dict[str, float]:
        return {name: dn * (band.scale or DEFAULT_SCALE) for name, band in stated.items()}

    if given is not None:
        return everywhere(given), f"given by the user: {given:g} DN"
    expected, rule = _offset_of_baseline(baseline)
    key = next((key for key in OFFSET_APPLIED if properties.get(key) is not None), None)
    if key and properties[key]:
        return everywhere(0), f"{key} is true: the DN already contain it"
    if key and baseline:
        return everywhere(expected), f"{key} is false and {rule}"
    if any(band.offset is not None for band in stated.values()):
        return _stated_offsets(stated, rule if expected == 0 and baseline else "")
    return everywhere(expected), rule


def _offset_of_baseline(baseline: str | None) -> tuple[int, str]:
    """The offset in DN that a baseline's products carry, and the rule in words."""
    if baseline is None:
        return 0, "nothing states an offset: 0"
    if baseline >= OFFSET_SINCE:
        return OFFSET_DN, f"processing baseline {baseline} >= {OFFSET_SINCE}: {OFFSET_DN} DN"
    return 0, f"processing baseline {baseline} < {OFFSET_SINCE}: 0"


def _stated_offsets(stated: Mapping[str, Stated], rule: str) -> tuple[dict[str, float], str]:
    """Each band's own `raster:offset`, 0 where a band has none.

    Args:
        stated: What the item states of each band.
        rule: Why there should be no offset, or nothing.
    """
    offsets = {name: float(band.offset or 0) for name, band in stated.items()}
    if len(set(offsets.values())) > 1:
        each = ", ".join(f"{name} {value:g}" for name, value in offsets.items())
        return offsets, f"raster:offset by band: {each}"
    first = next(band for band in stated.values() if band.offset is not None)
    reason = f"raster:offset {first.offset:g} of asset {first.asset}"
    return offsets, f"{reason}, although {rule}" if first.offset and rule else reason


def radiometry_of(stated: Stated, offset: float) -> Radiometry:
    """A band's radiometry; the offset, decided by `resolve_offsets`, is in reflectance."""
    nodata = NODATA if stated.nodata is None else int(stated.nodata)
    return Radiometry(scale=stated.scale or DEFAULT_SCALE, offset=offset, nodata=nodata)


# Its names --------------------------------------------------------------------------------------


def find_level(item: pystac.Item) -> str:
    """`L1C`, `L2A`, or `unknown`, from whatever says it."""
    keys = ("processing:level", "s2:product_type", "product:type")
    texts = [*(item.properties.get(key) for key in keys), item.collection_id, *_names(item)]
    # Not "2A" alone, which is in every name of Sentinel-2A.
    match = _search(r"(?:L|MSI|level[- ]?)(1C|2A)(?![A-Z0-9])", texts)
    return f"L{match[1].upper()}" if match else "unknown"


def find_baseline(item: pystac.Item) -> str | None:
    """The processing baseline as `05.09`, from a property or the product's name, or None."""
    values = (item.properties.get(key) for key in BASELINE)
    texts = [f"{value:.2f}" if isinstance(value, float) else value for value in values]
    match = _search(r"^N?(\d{1,2})\.?(\d\d)$", texts)
    match = match or _search(r"_N(\d\d)(\d\d)_", _names(item))
    return f"{match[1].zfill(2)}.{match[2]}" if match else None


def find_platform(item: pystac.Item) -> str | None:
    """`sentinel-2a` and so on, from a property or the product's name, or None."""
    match = _search(r"^sentinel-(2[A-Z])$", [item.properties.get("platform")])
    match = match or _search(r"^S(2[A-Z])_", _names(item))
    return f"sentinel-{match[1].lower()}" if match else None


def find_tile(item: pystac.Item) -> str | None:
    """The MGRS tile such as `31TCJ`, or None."""
    texts = [item.properties.get("s2:mgrs_tile"), item.properties.get("grid:code")]
    for prefix in ("mgrs", "sentinel"):
        keys = (f"{prefix}:{part}" for part in ("utm_zone", "latitude_band", "grid_square"))
        texts.append("".join(str(item.properties.get(key, "")) for key in keys))
    match = _search(r"^(?:MGRS-|T)?(\d{1,2})([C-X][A-Z]{2})$", texts)
    match = match or _search(r"_T(\d\d)([C-X][A-Z]{2})(?:_|$)", _names(item))
    return f"{match[1].zfill(2)}{match[2].upper()}" if match else None


def _names(item: pystac.Item) -> list[str]:
    """The product's names, which tell what no property does."""
    keys = ("s2:product_uri", "sentinel:product_id", "s2:granule_id")
    return [*(str(item.properties[key]) for key in keys if item.properties.get(key)), item.id]


def _search(pattern: str, texts: Iterable[Any]) -> re.Match[str] | None:
    """The match in the first text that has one."""
    matches = (re.search(pattern, str(text), re.IGNORECASE) for text in texts if text is not None)
    return next((match for match in matches if match), None)
