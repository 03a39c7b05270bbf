"""The items of a static STAC catalog, on disk or on a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pystac
import requests

from decametre.errors import DocumentError, FleetError
from decametre.fleet.inputs.items import item_at
from decametre.fleet.inputs.naming import ListedProduct
from decametre.fleet.inputs.paths import name_of
from decametre.sentinel2.documents import read_document
from decametre.sentinel2.hrefs import resolve_href
from decametre.sentinel2.references import check_reference

READER_THREADS = 8
"""Items that are read concurrently, since a server takes a while for each."""


def catalog_items(
    document: dict[str, Any], source: str, session: requests.Session
) -> Iterator[ListedProduct]:
    """The items of a catalog or collection and of all its descendants.

    An item that cannot be read is returned with a name derived from its address.

    Args:
        document: The catalog.
        source: Its path or URL.
        session: For requests to servers.

    Raises:
        DocumentError: A child catalog cannot be read, so that the list would lack its items.
        FleetError: A child is not a STAC catalog.
    """
    addresses = list(_item_addresses(document, source, session))
    with ThreadPoolExecutor(READER_THREADS) as pool:
        yield from pool.map(partial(_read_item, session=session), addresses)


def _read_item(address: str, session: requests.Session) -> ListedProduct:
    try:
        return item_at(address, read_document(address, session))
    except DocumentError:
        return ListedProduct(name_of(address), address)


def _item_addresses(
    document: dict[str, Any], source: str, session: requests.Session
) -> Iterator[str]:
    """Paths or URLs of all items in the order of the links; each catalog is visited once."""
    waiting, seen = [source], {source}
    while waiting:
        address = waiting.pop()
        content = document if address == source else read_document(address, session)
        catalog = _parse_catalog(content, address)
        yield from (_link_target(link, address) for link in catalog.get_item_links())
        children = [_link_target(link, address) for link in catalog.get_child_links()]
        new = [child for child in dict.fromkeys(children) if child not in seen]
        seen.update(new)
        waiting += reversed(new)


def _parse_catalog(document: dict[str, Any], address: str) -> pystac.Catalog:
    try:
        parsed = pystac.read_dict(document, href=address)
    except Exception as error:  # pystac raises many types of errors for invalid JSON
        raise FleetError(
            f"{address}: not a STAC catalog ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(parsed, pystac.Catalog):
        raise FleetError(f"{address}: an item, but a link to it says that it is a catalog")
    return parsed


def _link_target(link: pystac.Link, address: str) -> str:
    """The path or URL that a link in the document at `address` leads to."""
    target = resolve_href(address, link.target if isinstance(link.target, str) else link.href)
    check_reference(address, target)
    return target if "://" in target else os.path.normpath(target)
