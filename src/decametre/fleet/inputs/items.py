"""STAC items as products of a list.

An item of a static catalog has an address: the link to it. An item of an ItemCollection, or of an
API's response, states its address in a `self` link, which is not always correct:

* An API behind a proxy may use an internal host name in its links. The `self` link is used if it
  leads to the server that sent the item.
* The items of an ItemCollection in a file may have been edited since they were published; usually,
  their assets were downloaded. The `self` link is used if no band is a local file.
* A path is used if the file exists.

If the `self` link is not used, the item itself is saved in a file. This is always correct, since
its bands are those that the collection lists; only the result then names the saved file as its
source. The field `decametre:origin` of the file states the server that the item came from, which
limits what the item may name (`sentinel2.references`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from decametre.fleet.inputs.naming import ListedProduct
from decametre.sentinel2.hrefs import is_web, local_path, resolve_href
from decametre.sentinel2.references import is_foreign
from decametre.sentinel2.stac import ORIGIN
from decametre.sentinel2.stac_metadata import band_assets

Document = dict[str, Any]

UNNAMED = "item"
"""Name of an item without an id. Such an item is invalid, which the worker reports."""


def item_at(address: str, document: Document) -> ListedProduct:
    """An item that has an address.

    Args:
        address: Its path or URL.
        document: The item.
    """
    return ListedProduct(_id(document), address, item_size(document, address))


def item_of_collection(document: Document, source: str) -> ListedProduct:
    """An item of an ItemCollection or of an API's response.

    Args:
        document: The item. If it has no usable address, its hrefs are made absolute in place.
        source: Path of the collection, or URL of the server that sent it.
    """
    address = _address(document, source)
    if address is not None:
        return item_at(address, document)
    link = _self_link(document)
    _make_hrefs_absolute(document, urljoin(source, link) if is_web(source) else source)
    if is_web(source):
        document[ORIGIN] = source  # not the link, which the item states itself
    bands = [str(asset.get("href")).partition("?")[0] for asset in _bands(document)]
    identity = json.dumps([_id(document), document.get("collection"), bands])
    return ListedProduct(_id(document), identity, item_size(document, source), document)


def item_size(document: Document, base: str) -> int | None:
    """Size of an item's band files in bytes, as stated in the item or read from local files.

    Args:
        document: The item.
        base: Its path or URL, which relative hrefs are resolved against.

    Returns:
        None if the size of a band is unknown.
    """
    total = 0
    for asset in _bands(document):
        size = asset.get("file:size")
        if not isinstance(size, int) and not is_foreign(base):
            size = _file_size(resolve_href(base, str(asset.get("href"))))
        if not isinstance(size, int):
            return None
        total += size
    return total or None


def _file_size(path: str) -> int | None:
    try:
        return None if "://" in path else Path(path).stat().st_size
    except (OSError, ValueError):
        return None


def _id(document: Document) -> str:
    return str(document.get("id") or UNNAMED)


def _assets(document: Document) -> dict[str, Document]:
    """The assets that are JSON objects."""
    assets = document.get("assets")
    if not isinstance(assets, dict):
        return {}
    return {key: asset for key, asset in assets.items() if isinstance(asset, dict)}


def _bands(document: Document) -> list[Document]:
    """The assets of the bands."""
    assets = _assets(document)
    return [assets[key] for key in band_assets(assets).values()]


def _links(document: Document) -> list[Document]:
    links = document.get("links")
    links = links if isinstance(links, list) else []
    return [link for link in links if isinstance(link, dict) and isinstance(link.get("href"), str)]


def _self_link(document: Document) -> str:
    """The href of the `self` link; empty if there is none."""
    return next((link["href"] for link in _links(document) if link.get("rel") == "self"), "")


# Items with a usable address --------------------------------------------------------------------


def _address(document: Document, source: str) -> str | None:
    """The `self` link of a collection's item, if it can be used (see the module's docstring)."""
    link = _self_link(document)
    if is_web(link):
        if is_web(source):
            usable = urlsplit(link).netloc == urlsplit(source).netloc
        else:
            usable = not any(_is_local(asset, source) for asset in _bands(document))
        return link if usable else None
    if is_foreign(source):
        return None
    path = local_path(link)
    return path if Path(path).is_absolute() and _file_size(path) is not None else None


def _is_local(asset: Document, source: str) -> bool:
    """Whether an asset of a collection in a file is a local file."""
    href = str(asset.get("href"))
    if href.startswith("file://") or Path(href).is_absolute():
        return not href.startswith("/vsi")
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href) and (
        _file_size(resolve_href(source, href)) is not None
    )


# Items without a usable address -----------------------------------------------------------------


def _make_hrefs_absolute(document: Document, base: str) -> None:
    """Make all hrefs of an item absolute in place, so that it can be saved anywhere.

    Args:
        document: The item.
        base: Path or URL that relative hrefs are resolved against.
    """
    for item_part in _parts_with_href(document):
        if isinstance(item_part.get("href"), str):
            href = resolve_href(base, item_part["href"])
            item_part["href"] = href if "://" in href else os.path.normpath(href)


def _parts_with_href(document: Document) -> Iterator[Document]:
    """The links, the assets and the assets' alternates."""
    yield from _links(document)
    for asset in _assets(document).values():
        yield asset
        alternates = asset.get("alternate")
        if isinstance(alternates, dict):
            yield from (each for each in alternates.values() if isinstance(each, dict))
