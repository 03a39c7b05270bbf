"""What a fleet is to do, from a search of a STAC API."""

from __future__ import annotations

import itertools
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pystac_client import Client, ItemSearch
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.warnings import PystacClientWarning

from decametre.errors import FleetError, UnknownNameError
from decametre.fleet.inputs.documents import TIMEOUT, reason_of, server_access
from decametre.fleet.inputs.items import Document, item_inside
from decametre.fleet.inputs.naming import entries_of
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.sentinel2.hrefs import is_web

log = logging.getLogger(__name__)

KNOWN_COLLECTIONS = ("sentinel-2-l2a", "sentinel-2-c1-l2a", "sentinel-s2-l2a-cogs", "sentinel-2")
"""What APIs call their collection of Level-2A, best first: Earth Search, Planetary Computer and
Copernicus; Collection 1 alone; the first Earth Search; the first of Copernicus, which has Level-1C
in it. Capitals make no difference."""

CLOUD_COVER = "eo:cloud_cover"

PAGE = 100
"""Items asked for at a time. An answer of many hundred is more than some servers can send."""

Box = tuple[float, float, float, float]


def search(
    url: str,
    items_folder: Path,
    *,
    bbox: Sequence[float] | None = None,
    datetime: str | None = None,
    cloud_cover: float | None = None,
    collections: Sequence[str] = (),
    limit: int | None = None,
) -> list[ProductEntry]:
    """Search a STAC API for products.

    Args:
        url: The API's landing page, such as `https://earth-search.aws.element84.com/v1`.
        items_folder: Where items that have no address of their own are kept, as `NAME.json`.
        bbox: West, south, east, north in degrees (WGS 84). West of more than east is a box across
            the antimeridian.
        datetime: Day, month, year, RFC 3339 time, or an interval such as `2023-06/2023-08` or
            `2023-06-01/..`; UTC.
        cloud_cover: Percent of cloud that a product may have. One that does not say is left out.
        collections: Their ids; without, the API's collection of Sentinel-2 Level-2A.
        limit: As many products at most.

    Returns:
        At least one, in the API's order.

    Raises:
        FleetError: The box or time cannot be understood, there is neither of the two, `url` is
            no STAC API or does not answer, nothing is found, or no collection of the API is known
            to be Sentinel-2 Level-2A.
        UnknownNameError: The API has no collection of a name that was given.
        OutputError: An item cannot be written to `items_folder`.
    """
    if not is_web(url):
        raise FleetError(f"{url}: not the http(s) address of a STAC API")
    if bbox is None and datetime is None:
        raise FleetError(f"{url}: give a bbox or a datetime; nobody wants the whole archive")
    if cloud_cover is not None and not 0 <= cloud_cover <= 100:
        raise FleetError(f"cloud cover {cloud_cover:g}: give percent, 0 to 100")
    terms: dict[str, Any] = {"bbox": _box(bbox), "datetime": _time(url, datetime)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PystacClientWarning)  # of what we ask for ourselves
        client = _open(url)
        terms["collections"] = _collections(client, url, collections)
        if cloud_cover is not None and client.conforms_to(ConformanceClasses.QUERY):
            terms["query"] = {CLOUD_COVER: {"lte": cloud_cover}}
        items = _clear(_items(client.search(limit=PAGE, **terms), url), cloud_cover)
        found = (item_inside(item, url) for item in itertools.islice(items, limit))
        entries = entries_of(found, items_folder)
    if not entries:
        box = ",".join(f"{number:g}" for number in bbox) if bbox else "everywhere"
        cloud = "" if cloud_cover is None else f", cloud cover {cloud_cover:g} at most"
        raise FleetError(
            f"{url}: no item found (collection {', '.join(terms['collections'])}, bbox {box}, "
            f"datetime {terms['datetime'] or 'any'}{cloud})"
        )
    return entries


# Terms ------------------------------------------------------------------------------------------


def _box(bbox: Sequence[float] | None) -> Box | None:
    """West, south, east, north, checked."""
    if bbox is None:
        return None
    said = ",".join(f"{number:g}" for number in bbox)
    if len(bbox) != 4 or not all(map(math.isfinite, bbox)):
        raise FleetError(f"bbox {said}: give west, south, east, north in degrees")
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise FleetError(
            f"bbox {said}: west and east must be from -180 to 180 degrees, south and north from "
            "-90 to 90, and south no more than north"
        )
    return (west, south, east, north)


def _time(url: str, datetime: str | None) -> str | None:
    """The interval as the API takes it, checked; a day, month or year is from end to end."""
    if datetime is None:
        return None
    try:
        text: str = ItemSearch(url, datetime=datetime).get_parameters()["datetime"]
        start, _, end = text.partition("/")
        if {start, end} <= {"..", ""}:
            raise ValueError("neither a beginning nor an end")
    except Exception as error:  # pystac-client raises just that
        raise FleetError(
            f"datetime '{datetime}': {error}; give a day, month or year such as 2023-06, or two "
            "of them as 2023-06-01/2023-08-31, one of which may be .."
        ) from error
    if end and ".." not in (start, end) and start > end:
        raise FleetError(f"datetime '{datetime}': ends before it begins")
    return text


# The API ----------------------------------------------------------------------------------------


def _open(url: str) -> Client:
    """The API, which is one."""
    with _asking(url):
        client = Client.open(url, stac_io=server_access(), timeout=TIMEOUT)
    if client.get_search_link() is None:
        raise FleetError(
            f"{url}: a STAC catalog that cannot be searched; give it as INPUT to take all of it"
        )
    return client


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """What a server, or pystac-client of its answer, complains of, as an error of one line."""
    try:
        yield
    except APIError as error:
        raise FleetError(f"{url}: {reason_of(error)}") from error
    except Exception as error:  # pystac raises whatever it trips over in a stranger's answer
        raise FleetError(
            f"{url}: answers, but not as a STAC API does ({type(error).__name__}: {error}); give "
            "the address of its landing page"
        ) from error


def _items(found: ItemSearch, url: str) -> Iterator[Document]:
    """The items, asked for page by page."""
    with _asking(url):
        yield from found.items_as_dicts()


def _collections(client: Client, url: str, wanted: Sequence[str]) -> list[str]:
    """Ids of the collections to be searched, each as the API writes it."""
    known = {name.lower(): name for name in _known(client, url)}
    for name in wanted:
        if known and name.lower() not in known:
            raise UnknownNameError(f"collection of {url}", name, known.values())
    if wanted:
        return [known.get(name.lower(), name) for name in wanted]
    found = next((known[name] for name in KNOWN_COLLECTIONS if name in known), None)
    if found is None:
        raise FleetError(
            f"{url}: none of its collections is known to be Sentinel-2 Level-2A; choose by "
            f"--collection among {', '.join(known.values()) or 'those that its documents name'}"
        )
    log.info("searching %s of %s", found, url)
    return [found]


def _known(client: Client, url: str) -> list[str]:
    """Ids of all collections, none where the API does not list them.

    Taken from the answer itself: one collection that pystac cannot parse would bar all others.
    """
    link = client.get_single_link("data")
    if link is None:
        return []
    with _asking(url):
        pages = server_access().get_pages(link.href)
        return [str(each["id"]) for page in pages for each in page["collections"]]


def _clear(items: Iterator[Document], cloud_cover: float | None) -> Iterator[Document]:
    """The items that say they have no more cloud; all of them without a limit."""
    silent = 0
    for item in items:
        cover = (item.get("properties") or {}).get(CLOUD_COVER)
        if cloud_cover is None or (isinstance(cover, int | float) and cover <= cloud_cover):
            yield item
        else:
            silent += cover is None
    if silent:
        log.warning("%d items do not say how much cloud they have, and are left out", silent)
