"""Metadata of a STAC item: asset names, scale and offset, level, baseline, tile.

These functions depend on the item only; none opens a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

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
BASELINE = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "eopf:baseline",
    "processing:version",
)
OFFSET_SINCE = "04.00"
"""The first processing baseline whose products carry an offset."""

LOCAL_BASELINES = "99"
"""First digits of the baselines of Sen2Cor on users' machines. They do not determine an offset."""

OFFSET_DN = -1000
"""The offset of these products in DN."""

SCALES = (1e-6, 1e-2)
"""Range of plausible scales."""

DEFAULT_SCALE = 1e-4
"""Reflectance per DN of all Sentinel-2 products, for items that state none."""

CARRIED = re.compile(
    r"eo:cloud_cover|eo:snow_cover|view:.*|sat:.*|constellation|instruments|(start|end)_datetime"
)
"""Properties that are copied to results."""


@dataclass(frozen=True)
class DeclaredRadiometry:
    """Scale, offset and nodata in the metadata of a band; None if not stated.

    Attributes:
        place: Where they are stated, such as `asset B02`, for messages.
        scale: Reflectance per DN.
        offset: In reflectance.
        nodata: DN of a pixel without data.
        names: Names of scale and offset in the metadata, for messages.
    """

    place: str
    scale: float | None
    offset: float | None
    nodata: float | None
    names: tuple[str, str] = ("raster:scale", "raster:offset")

    @classmethod
    def checked(
        cls,
        place: str,
        scale: Any,
        offset: Any,
        nodata: Any,
        names: tuple[str, str] = ("raster:scale", "raster:offset"),
    ) -> DeclaredRadiometry:
        """Check values as they stand in the metadata.

        Raises:
            RadiometryError: The scale is not plausible, or the offset is not a number.
        """
        for name, value in zip(names, (scale, offset), strict=True):
            number = isinstance(value, int | float) and math.isfinite(value)
            if value is not None and not number:
                raise RadiometryError(f"{place}: {name} is {value!r}, expected a number")
        if scale is not None and not SCALES[0] <= scale <= SCALES[1]:
            raise RadiometryError(
                f"{place}: {names[0]} is {scale:g}, expected reflectance per DN such as 0.0001; "
                "correct the metadata"
            )
        # Possibly the text "nan", which does not apply to integers.
        whole = isinstance(nodata, int | float) and math.isfinite(nodata)
        usable = whole and 0 <= nodata <= SATURATED
        return cls(place, scale, offset, nodata if usable else None, names)


def asset_names(band: Band) -> tuple[str, ...]:
    """Possible keys of a band's asset, best first: native grid first, COG before JPEG 2000."""
    common = EARTH_SEARCH_NAMES[band.name]
    return (f"{band.name}_{band.gsd}m", band.name, common, f"{band.name}-jp2", f"{common}-jp2")


def band_assets(keys: Iterable[str]) -> dict[str, str]:
    """The key of each band's asset by band name; the case of letters is ignored."""
    by_lower = {key.lower(): key for key in keys}
    found = {}
    for name, band in ALL_BANDS.items():
        matches = [by_lower[key.lower()] for key in asset_names(band) if key.lower() in by_lower]
        if matches:
            found[name] = matches[0]
    return found


# Its radiometry ---------------------------------------------------------------------------------


def declared_radiometry(key: str, asset: pystac.Asset) -> DeclaredRadiometry:
    """Read scale, offset and nodata of a band from its asset.

    STAC 1.1 has them in the asset's band or in the asset, with the prefix `raster:`. The earlier
    raster extension has a separate list, `raster:bands`, without a prefix.

    Args:
        key: Key of the asset, for the message.
        asset: The asset; its first band is used.

    Raises:
        RadiometryError: The scale is not plausible, or the offset is not a number.
    """
    fields = asset.extra_fields
    places = (_first(fields.get("bands")), fields, _first(fields.get("raster:bands")))

    def find(*spellings: str) -> Any:
        values = (place.get(spelling) for place in places for spelling in spellings)
        return next((value for value in values if value is not None), None)

    return DeclaredRadiometry.checked(
        f"asset {key}",
        find("raster:scale", "scale"),
        find("raster:offset", "offset"),
        find("nodata"),
    )


def _first(bands: Any) -> Mapping[str, Any]:
    return bands[0] if isinstance(bands, list) and bands and isinstance(bands[0], dict) else {}


def resolve_offsets(
    properties: Mapping[str, Any],
    declared: Mapping[str, DeclaredRadiometry],
    baseline: str | None,
    user_offset_dn: float | None = None,
) -> tuple[dict[str, float], str]:
    """Determine the offset of each band, from the first of these sources that states it.

    1. The user.
    2. `...:boa_offset_applied`. If true, the offset was already added to the DN. If false, it was
       not, and the baseline determines the offset. Earth Search also states -0.1 in
       `raster:bands`, but regardless of whether it was applied.
    3. `raster:offset` of the bands.
    4. The processing baseline.

    Args:
        properties: Properties of the item.
        declared: Radiometry in the item by band name.
        baseline: Processing baseline such as `05.09`, or None.
        user_offset_dn: The user's offset in DN, or None.

    Returns:
        Each band's offset in reflectance, and its source as text.

    Raises:
        RadiometryError: An offset is not plausible in reflectance.
    """

    def for_all(dn: float) -> dict[str, float]:
        return {name: dn * (band.scale or DEFAULT_SCALE) for name, band in declared.items()}

    if user_offset_dn is not None:
        return for_all(user_offset_dn), f"given by the user: {user_offset_dn:g} DN"
    expected, rule = _offset_of_baseline(baseline)
    key = next((key for key in OFFSET_APPLIED if properties.get(key) is not None), None)
    if key and properties[key]:
        return for_all(0), f"{key} is true: the DN already include it"
    if key and baseline:
        return for_all(expected), f"{key} is false and {rule}"
    if any(band.offset is not None for band in declared.values()):
        return _declared_offsets(declared, rule if expected == 0 and baseline else "")
    return for_all(expected), rule


def _offset_of_baseline(baseline: str | None) -> tuple[int, str]:
    """The offset in DN of a baseline's products, and the rule as text."""
    if baseline is None:
        return 0, "no offset stated: 0"
    if baseline.startswith(LOCAL_BASELINES):
        return 0, (
            f"processing baseline {baseline} (Sen2Cor of a user) does not determine the offset: 0; "
            "give --offset if the DN have one"
        )
    if baseline >= OFFSET_SINCE:
        return OFFSET_DN, f"processing baseline {baseline} >= {OFFSET_SINCE}: {OFFSET_DN} DN"
    return 0, f"processing baseline {baseline} < {OFFSET_SINCE}: 0"


def _declared_offsets(
    declared: Mapping[str, DeclaredRadiometry], rule: str
) -> tuple[dict[str, float], str]:
    """The `raster:offset` of each band, or 0 if a band has none.

    Args:
        declared: Radiometry in the item by band name.
        rule: Reason to expect no offset, or an empty text.
    """
    offsets = {name: float(band.offset or 0) for name, band in declared.items()}
    for band in declared.values():
        if abs(band.offset or 0) >= 1:
            raise RadiometryError(
                f"{band.place}: {band.names[1]} is {band.offset:g}, expected reflectance such "
                "as -0.1; correct the metadata, or give the offset in DN with --offset"
            )
    first = next(band for band in declared.values() if band.offset is not None)
    if len(set(offsets.values())) > 1:
        each = ", ".join(f"{name} {value:g}" for name, value in offsets.items())
        return offsets, f"{first.names[1]} by band: {each}"
    reason = f"{first.names[1]} {first.offset:g} of {first.place}"
    return offsets, f"{reason}, although {rule}" if first.offset and rule else reason


def radiometry_of(declared: DeclaredRadiometry, offset: float) -> Radiometry:
    """A band's radiometry, with the offset in reflectance from `resolve_offsets`."""
    nodata = NODATA if declared.nodata is None else int(declared.nodata)
    return Radiometry(scale=declared.scale or DEFAULT_SCALE, offset=offset, nodata=nodata)


# Its names --------------------------------------------------------------------------------------


def find_crs(item: pystac.Item) -> str | None:
    """The CRS that an item, or else its first asset with one, states; None if there is none."""
    for fields in (item.properties, *(asset.extra_fields for asset in item.assets.values())):
        if fields.get("proj:code") or fields.get("proj:wkt2"):
            return str(fields.get("proj:code") or fields["proj:wkt2"])
        if fields.get("proj:epsg"):
            return f"EPSG:{fields['proj:epsg']}"
    return None


class ItemFacts(TypedDict):
    """Fields of `Product` that an item states."""

    id: str
    level: str
    baseline: str | None
    platform: str | None
    tile: str | None


def facts_of(item: pystac.Item) -> ItemFacts:
    """The fields of a product that an item states in properties or names."""
    return {
        "id": item.id,
        "level": find_level(item),
        "baseline": find_baseline(item),
        "platform": find_platform(item),
        "tile": find_tile(item),
    }


def find_level(item: pystac.Item) -> str:
    """`L1C`, `L2A`, or `unknown`, from properties or names."""
    keys = ("processing:level", "s2:product_type", "product:type")
    texts = [*(item.properties.get(key) for key in keys), item.collection_id, *_names(item)]
    # Not "2A" alone, which is in every name of Sentinel-2A.
    match = _search(r"(?:L|MSI|level[- ]?)(1C|2A)(?![A-Z0-9])", texts)
    return f"L{match[1].upper()}" if match else "unknown"


def find_baseline(item: pystac.Item) -> str | None:
    """The processing baseline as `05.09`, from a property or the product's name, or None."""
    values = (item.properties.get(key) for key in BASELINE)
    texts = [f"{value:.2f}" if isinstance(value, int | float) else value for value in values]
    match = _search(r"^N?(\d{1,2})\.(\d\d?)$|^N?(\d\d)(\d\d)$", texts)
    match = match or _search(r"_N(\d\d)(\d\d)_", _names(item))
    if match is None:
        return None
    major, minor = filter(None, match.groups())
    return f"{major.zfill(2)}.{minor.ljust(2, '0')}"


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
    """Names of the product, which contain level, baseline, platform and tile."""
    keys = ("s2:product_uri", "sentinel:product_id", "s2:granule_id")
    return [*(str(item.properties[key]) for key in keys if item.properties.get(key)), item.id]


def _search(pattern: str, texts: Iterable[Any]) -> re.Match[str] | None:
    """The first match in the texts."""
    matches = (re.search(pattern, str(text), re.IGNORECASE) for text in texts if text is not None)
    return next((match for match in matches if match), None)
