"""STAC items, as their publishers wrote them, as products of a list.

An item of a static catalog has an address: the link to it. One in an ItemCollection, or in an
API's answer, says its address itself, with a `self` link, which is not always to be relied on:

* An API behind a proxy may call itself by an internal name. Its items' `self` links count if they
  lead to the server that was asked.
* An ItemCollection in a file may have been changed since its items were published; mostly, its
  assets have been downloaded. Its items' `self` links count if no band is a local file.
* A path counts if there is a file.

Where it does not count the item itself is kept, which is never wrong: its bands are those that
the collection says. Only the result then names a copy as its source.
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
from decametre.sentinel2.stac_metadata import band_assets

Document = dict[str, Any]

UNNAMED = "item"
"""An item's name if it has no id; it is no item then, which a worker will say."""


def item_at(address: str, document: Document) -> ListedProduct:
    """An item that has an address.

    Args:
        address: Its path or URL.
        document: The item.
    """
    return ListedProduct(_id(document), address, item_size(document, address))


def item_inside(document: Document, place: str) -> ListedProduct:
    """An item that came in a collection.

    Args:
        document: The item. If it has no address, its hrefs are made absolute, here and now.
        place: Path of the collection, or URL of the server that sent it.
    """
    address = _address(document, place)
    if address is not None:
        return item_at(address, document)
    link = _self_link(document)
    _stand_alone(document, urljoin(place, link) if is_web(place) else place)
    bands = [str(asset.get("href")).partition("?")[0] for asset in _bands(document)]
    same = json.dumps([_id(document), document.get("collection"), bands])
    return ListedProduct(_id(document), same, item_size(document, place), document)


def item_size(document: Document, place: str) -> int | None:
    """Bytes of an item's band files, as it states them or as local files have them.

    Args:
        document: The item.
        place: Its path or URL, at which relative hrefs begin.

    Returns:
        None if that of a band is not known.
    """
    total = 0
    for asset in _bands(document):
        size = asset.get("file:size")
        if not isinstance(size, int):
            size = _file_size(resolve_href(place, str(asset.get("href"))))
        if size is None:
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
    """The assets, as far as they are any."""
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
    """The `self` link as it stands, or nothing."""
    return next((link["href"] for link in _links(document) if link.get("rel") == "self"), "")


# Its address ------------------------------------------------------------------------------------


def _address(document: Document, place: str) -> str | None:
    """Where an item of a collection can be opened, if its `self` link is to be relied on."""
    link = _self_link(document)
    if is_web(link):
        if is_web(place):
            usable = urlsplit(link).netloc == urlsplit(place).netloc
        else:
            usable = not any(_is_local(asset, place) for asset in _bands(document))
        return link if usable else None
    path = local_path(link)
    return path if Path(path).is_absolute() and _file_size(path) is not None else None


def _is_local(asset: Document, place: str) -> bool:
    """Whether an asset of a collection in a file lies here: a path, or a file beside it."""
    href = str(asset.get("href"))
    if href.startswith("file://") or Path(href).is_absolute():
        return not href.startswith("/vsi")
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href) and (
        _file_size(resolve_href(place, href)) is not None
    )


# Without one ------------------------------------------------------------------------------------


def _stand_alone(document: Document, base: str) -> None:
    """Make all hrefs of an item absolute, so that it may lie anywhere.

    Args:
        document: The item.
        base: Path or URL at which its relative hrefs begin.
    """
    for place in _with_hrefs(document):
        if isinstance(place.get("href"), str):
            href = resolve_href(base, place["href"])
            place["href"] = href if "://" in href else os.path.normpath(href)


def _with_hrefs(document: Document) -> Iterator[Document]:
    """The links, the assets and the assets' alternates."""
    yield from _links(document)
    for asset in _assets(document).values():
        yield asset
        alternates = asset.get("alternate")
        if isinstance(alternates, dict):
            yield from (each for each in alternates.values() if isinstance(each, dict))
