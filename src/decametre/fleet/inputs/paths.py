"""Products by their paths and URLs, of which there may be 100,000: none is opened."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from decametre.fleet.inputs.items import item_at
from decametre.fleet.inputs.naming import ListedProduct
from decametre.sentinel2.hrefs import is_web, local_path
from decametre.sentinel2.opening import is_safe

FORMATS = (".zip", ".safe", ".json", ".geojson")
"""Ends of files' and folders' names that are no part of the products' names."""

NO_IMAGES = frozenset({"QI_DATA", "AUX_DATA", "DATASTRIP", "HTML", "INSPIRE", "rep_info"})
"""Folders of a SAFE in which there are no bands."""

ITEM = "item.json"
"""The item of a folder that is a product."""


def absolute(text: str, folder: Path) -> str:
    """A product's path or URL as a list has it, as any worker finds it.

    Args:
        text: Path, file:// or other URL.
        folder: The list's, at which relative paths begin.
    """
    text = local_path(text)
    return text if "://" in text else str(folder.absolute() / text)


def listed_product(address: str) -> ListedProduct:
    """A product, its name and size as far as they are known without opening it.

    A server is not asked. What is not there, or no product, is found all the same: a worker will
    say what is the matter with it.

    Args:
        address: From `absolute`.
    """
    name = name_in(address)
    try:
        state = None if "://" in address else Path(address).stat()
    except (OSError, ValueError):  # not there, not for us, or no path at all
        state = None
    if state is None:
        return ListedProduct(name, address)
    path = Path(address)
    if stat.S_ISDIR(state.st_mode):
        if is_safe(path):
            return ListedProduct(name, address, safe_size(path))
        return local_item(path / ITEM) or ListedProduct(name, address)
    suffix = path.suffix.lower()
    if suffix in (".json", ".geojson"):
        return local_item(path) or ListedProduct(name, address)
    if suffix == ".xml":
        return ListedProduct(name, str(_product_of(path)), safe_size(path.parent))
    return ListedProduct(name, address, state.st_size if suffix == ".zip" else None)


def _product_of(xml: Path) -> Path:
    """The SAFE folder whose only product metadata a file is, so that both name one product."""
    patterns = ("MTD_MSI*.xml", "S2?_*_MTD_SAF*.xml")
    metadata = [each for pattern in patterns for each in xml.parent.glob(pattern)]
    return xml.parent if metadata == [xml] else xml


def name_in(address: str) -> str:
    """What a product is called, by its path or URL."""
    path = PurePosixPath(unquote(urlsplit(address).path) if is_web(address) else address)
    if path.name == ITEM or path.suffix.lower() == ".xml":
        path = path.parent
    while path.suffix.lower() in FORMATS:
        path = path.with_suffix("")
    return path.name


def safe_size(folder: Path) -> int | None:
    """Bytes of the images of a SAFE folder, or of one of its granules'; None if there is none."""
    return _images(os.fspath(folder)) or None


def _images(folder: str) -> int:
    """Bytes of the images in a folder and below it; 0 for what may not be read, or is gone."""
    total = 0
    try:
        with os.scandir(folder) as inside:
            for each in inside:
                if each.name.endswith(".jp2"):
                    total += each.stat().st_size
                elif each.name not in NO_IMAGES and each.is_dir():
                    total += _images(each.path)
    except OSError:
        return 0
    return total


def local_item(path: Path) -> ListedProduct | None:
    """A STAC item in a file, or None if it is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    is_item = isinstance(document, dict) and document.get("type") == "Feature"
    return item_at(str(path), document) if is_item else None
