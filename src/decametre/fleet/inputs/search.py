"""The products of a fleet, from a search of a STAC API."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pystac_client import Client, ItemSearch
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning

from decametre.errors import FleetError, UnknownNameError
from decametre.fleet.inputs.items import Document, item_of_collection
from decametre.fleet.inputs.naming import unique_entries
from decametre.fleet.inputs.options import SearchOptions
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.sentinel2.documents import TIMEOUT, excerpt, root_cause, server_session
from decametre.sentinel2.hrefs import is_web

log = logging.getLogger(__name__)

KNOWN_COLLECTIONS = ("sentinel-2-l2a", "sentinel-2-c1-l2a", "sentinel-s2-l2a-cogs", "sentinel-2")
"""Ids of Level-2A collections, in order of preference: Earth Search, Planetary Computer and
Copernicus; Collection 1 only; Earth Search v0; the first API of Copernicus, whose collection also
holds Level-1C. Upper and lower case are not distinguished."""

CLOUD_COVER = "eo:cloud_cover"

PAGE = 100
"""Items per request. Some servers fail at responses with several hundred items."""


def search(terms: SearchOptions, items_folder: Path) -> list[ProductEntry]:
    """Search a STAC API for products.

    Args:
        terms: The API's landing page and what to search for.
        items_folder: Folder in which items without an address are saved, as `NAME.json`.

    Returns:
        At least one product, in the order of the API.

    Raises:
        FleetError: The time is invalid, the URL is not that of a STAC API, the server does not
            respond, nothing is found, or no collection of the API is known to be Sentinel-2
            Level-2A.
        UnknownNameError: The API has no collection of that name.
        OutputError: An item cannot be written to `items_folder`.
    """
    url, cloud_cover = str(terms.search), terms.cloud_cover
    if not is_web(url):
        raise FleetError(f"{url}: not an http(s) URL; give that of a STAC API")
    query: dict[str, Any] = {"bbox": terms.bbox, "datetime": _time(url, terms.datetime)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PystacClientWarning)  # we check conformance
        client = _open(url)
        query["collections"] = _collections(client, url, terms.collections)
        if cloud_cover is not None and client.conforms_to(ConformanceClasses.QUERY):
            query["query"] = {CLOUD_COVER: {"lte": cloud_cover}}
        items = _filter_clouds(_items(client.search(limit=PAGE, **query), url), cloud_cover)
        entries = unique_entries((item_of_collection(item, url) for item in items), items_folder)
    if not entries:
        box = ",".join(f"{number:g}" for number in terms.bbox) if terms.bbox else "everywhere"
        cloud = "" if cloud_cover is None else f", cloud cover at most {cloud_cover:g} %"
        raise FleetError(
            f"{url}: no item found (collection {', '.join(query['collections'])}, bbox {box}, "
            f"datetime {query['datetime'] or 'any'}{cloud})"
        )
    return entries


def _time(url: str, datetime: str | None) -> str | None:
    """Check an interval and expand it to RFC 3339: a month becomes its first to last second."""
    if datetime is None:
        return None
    try:
        text: str = ItemSearch(url, datetime=datetime).get_parameters()["datetime"]
        start, _, end = text.partition("/")
        if {start, end} <= {"..", ""}:
            raise ValueError("neither a start nor an end")
    except Exception as error:  # the type that pystac-client raises
        raise FleetError(
            f"datetime '{datetime}': {error}; give a day, month or year such as 2023-06, or two "
            "of them as 2023-06-01/2023-08-31, one of which may be .."
        ) from error
    if end and ".." not in (start, end) and start > end:
        raise FleetError(f"datetime '{datetime}': ends before it starts")
    return text


# The API ----------------------------------------------------------------------------------------


def _open(url: str) -> Client:
    """Open the API, and check that it can be searched."""
    with _api_errors(url):
        client = Client.open(url, stac_io=_api_io(url), timeout=TIMEOUT)
    if client.get_search_link() is None:
        raise FleetError(
            f"{url}: a static STAC catalog, which cannot be searched; give it as INPUT to process "
            "all its items"
        )
    return client


def _api_io(url: str) -> StacApiIO:
    """Requests of pystac-client through our session."""
    api_io = StacApiIO(timeout=TIMEOUT)
    api_io.session = server_session(url)
    return api_io


@contextmanager
def _api_errors(url: str) -> Iterator[None]:
    """Turn errors of a server, or of pystac-client about its responses, into a FleetError."""
    try:
        yield
    except APIError as error:
        raise FleetError(f"{url}: {_reason(error)}") from error
    except Exception as error:  # pystac raises many types of errors for invalid responses
        raise FleetError(
            f"{url}: the response is not that of a STAC API ({type(error).__name__}: {error}); "
            "give the URL of its landing page"
        ) from error


def _reason(error: APIError) -> str:
    status = getattr(error, "status_code", None)
    if status is not None:
        return f"the server answered HTTP {status} {excerpt(str(error))}".rstrip()
    return f"cannot be reached ({root_cause(error.__context__ or error)})"


def _items(found: ItemSearch, url: str) -> Iterator[Document]:
    """The items, requested page by page."""
    with _api_errors(url):
        yield from found.items_as_dicts()


def _collections(client: Client, url: str, wanted: Sequence[str]) -> list[str]:
    """Ids of the collections to search, in the spelling of the API."""
    known = {name.lower(): name for name in _collection_ids(client, url)}
    for name in wanted:
        if known and name.lower() not in known:
            raise UnknownNameError(f"collection of {url}", name, known.values())
    if wanted:
        return [known.get(name.lower(), name) for name in wanted]
    found = next((known[name] for name in KNOWN_COLLECTIONS if name in known), None)
    if found is None:
        raise FleetError(
            f"{url}: none of its collections is known to be Sentinel-2 Level-2A; choose one by "
            f"--collection: {', '.join(known.values()) or 'see the documentation of the API'}"
        )
    log.info("searching collection %s of %s", found, url)
    return [found]


def _collection_ids(client: Client, url: str) -> list[str]:
    """Ids of all collections; empty if the API does not list them.

    They are read from the JSON: pystac fails if it cannot parse one of the collections.
    """
    link = client.get_single_link("data")
    if link is None:
        return []
    with _api_errors(url):
        pages = _api_io(url).get_pages(link.href)
        return [str(each["id"]) for page in pages for each in page["collections"]]


def _filter_clouds(items: Iterator[Document], cloud_cover: float | None) -> Iterator[Document]:
    """The items whose stated cloud cover is at most that; all items for None."""
    unknown = 0
    for item in items:
        cover = (item.get("properties") or {}).get(CLOUD_COVER)
        if cloud_cover is None or (isinstance(cover, int | float) and cover <= cloud_cover):
            yield item
        else:
            unknown += cover is None
    if unknown:
        log.warning("skipped %d items that do not state their cloud cover", unknown)
