"""Walking a static STAC catalog, on disk or on a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pystac
from pystac_client.stac_api_io import StacApiIO

from decametre.errors import FleetError
from decametre.fleet.inputs.documents import read_document
from decametre.fleet.inputs.items import item_at
from decametre.fleet.inputs.naming import ListedProduct
from decametre.fleet.inputs.paths import name_in
from decametre.sentinel2.hrefs import resolve_href

READERS = 8
"""Items that are read at a time; a server takes a while for each."""


def catalog_items(
    document: dict[str, Any], source: str, access: StacApiIO
) -> Iterator[ListedProduct]:
    """The items of a catalog or collection and of all those below it.

    An item that cannot be read is found all the same, under the name that its address has.

    Args:
        document: The catalog.
        source: Its path or URL.
        access: What asks servers.

    Raises:
        FleetError: A catalog below it cannot be read, so that the list would lack its items.
    """
    addresses = list(_item_addresses(document, source, access))
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(partial(_item, access=access), addresses)


def _item(address: str, access: StacApiIO) -> ListedProduct:
    try:
        return item_at(address, read_document(address, access))
    except FleetError:
        return ListedProduct(name_in(address), address)


def _item_addresses(document: dict[str, Any], source: str, access: StacApiIO) -> Iterator[str]:
    """Paths or URLs of all items, in the order of the links; no catalog is visited twice."""
    waiting, seen = [source], {source}
    while waiting:
        place = waiting.pop()
        content = document if place == source else read_document(place, access)
        catalog = _parsed(content, place)
        yield from (_target(link, place) for link in catalog.get_item_links())
        children = [_target(link, place) for link in catalog.get_child_links()]
        new = [child for child in dict.fromkeys(children) if child not in seen]
        seen.update(new)
        waiting += reversed(new)


def _parsed(document: dict[str, Any], place: str) -> pystac.Catalog:
    try:
        parsed = pystac.read_dict(document, href=place)
    except Exception as error:  # pystac raises whatever it trips over in a stranger's JSON
        raise FleetError(
            f"{place}: not a STAC catalog ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(parsed, pystac.Catalog):
        raise FleetError(f"{place}: linked to as a catalog, and is an item")
    return parsed


def _target(link: pystac.Link, place: str) -> str:
    """What a link in the document at `place` leads to."""
    address = resolve_href(place, link.target if isinstance(link.target, str) else link.href)
    return address if "://" in address else os.path.normpath(address)
