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

import json
import math
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

import pystac

from decametre.bands import ALL_BANDS, Band
from decametre.errors import CorruptDataError, MissingBandError, NotAProductError, RadiometryError
from decametre.io.product import BandFile, Product
from decametre.io.raster import BandGrid, common_grid, gdal_path, read_grid
from decametre.radiometry import NODATA, Radiometry

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

SIGNED_HOSTS = frozenset({"sentinel2l2a01.blob.core.windows.net"})
"""Planetary Computer's servers: they answer only signed URLs, which GDAL can obtain itself."""

NO_ACCESS = re.compile(
    r"HTTP response code|CURL error|AWS|does not exist|denied|signature", re.IGNORECASE
)
"""What GDAL, or the server through it, says of a remote file that is not there or not for us."""

HTTP_TIMEOUT = 60
"""Seconds without an answer after which a server counts as out of reach."""

MAX_ITEM_BYTES = 32 << 20
"""The largest item that is read; real ones have a tenth of a megabyte."""


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
            name: BandFile(ALL_BANDS[name], path, _radiometry(stated[name], offsets[name]))
            for name, (path, _) in found.items()
        },
        missing={name: missing.get(name, no_asset) for name in ALL_BANDS if name not in found},
        offset_reason=reason,
        properties={
            key: value
            for key, value in item.properties.items()
            if CARRIED.fullmatch(key) and value is not None
        },
    )


# The item ---------------------------------------------------------------------------------------


def read_item(source: str) -> pystac.Item:
    """Read a STAC item, of any version that pystac understands.

    The text is fetched here, not by `pystac.Item.from_file`, which waits for a silent server
    forever and cuts paths at `#`.

    Args:
        source: Path or URL.

    Raises:
        NotAProductError: Out of reach, no JSON, or no STAC item.
    """
    try:
        document = json.loads(_read(source))
    except (ValueError, RecursionError) as error:
        raise NotAProductError(f"{source}: not JSON, so no STAC item ({error})") from error
    kind = document.get("type") if isinstance(document, dict) else type(document).__name__
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


def _read(source: str) -> bytes:
    try:
        if not _is_web(source):
            return _local(source).read_bytes()
        request = Request(source, headers={"User-Agent": "decametre"})
        with urlopen(request, timeout=HTTP_TIMEOUT) as answer:
            content: bytes = answer.read(MAX_ITEM_BYTES + 1)
    except HTTPError as error:
        raise NotAProductError(
            f"{source}: the server answered HTTP {error.code} {error.reason}"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a malformed URL
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise NotAProductError(f"{source}: cannot be read ({reason})") from error
    if len(content) > MAX_ITEM_BYTES:
        raise NotAProductError(f"{source}: larger than {MAX_ITEM_BYTES >> 20} MB; no STAC item")
    return content


def _is_web(href: str) -> bool:
    return href.lower().startswith(("http://", "https://"))


def _local(source: str) -> Path:
    """The path that a path or file:// URL names."""
    return Path(unquote(urlsplit(source).path) if source.startswith("file://") else source)


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


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)) or "none"


def _hrefs(source: str, asset: pystac.Asset) -> list[str]:
    """Where an asset may be read, best first: its own href, then the alternates."""
    alternates = asset.extra_fields.get("alternate")
    others = alternates.values() if isinstance(alternates, dict) else ()
    hrefs = [asset.href, *(other.get("href") for other in others if isinstance(other, dict))]
    return [resolve_href(source, href) for href in hrefs if href]


def resolve_href(source: str, href: str) -> str:
    """An asset's href as an absolute path or URL.

    Args:
        source: Path or URL of the item, to which a relative href refers.
        href: As it stands in the asset.
    """
    if href.startswith("file://"):
        return str(_local(href))
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|/vsi", href):
        return href
    if _is_web(source):
        return urljoin(source, href)
    return str(_local(source).absolute().parent / href)


def asset_path(href: str) -> str:
    """What GDAL opens for an absolute path or URL, with the signature that its server wants."""
    parts = urlsplit(href)
    if parts.netloc in SIGNED_HOSTS and "sig=" not in parts.query:
        return f"/vsicurl?pc_url_signing=yes&url={quote(href, safe='')}"
    return gdal_path(href)


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
        path = asset_path(href)
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
    whole = isinstance(nodata, int | float) and math.isfinite(nodata)
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


def _radiometry(stated: Stated, offset: float) -> Radiometry:
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
