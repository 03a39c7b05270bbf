"""Products by path or URL. A list may hold 100,000 of them, so none is opened here."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from decametre.files import read_json
from decametre.fleet.inputs.items import item_at
from decametre.fleet.inputs.naming import ListedProduct
from decametre.sentinel2.hrefs import is_web, local_path
from decametre.sentinel2.opening import is_safe

FORMAT_SUFFIXES = (".zip", ".safe", ".zarr", ".json", ".geojson")
"""Suffixes of files and folders that are not part of the product name."""

FOLDERS_WITHOUT_BANDS = frozenset(
    {"QI_DATA", "AUX_DATA", "DATASTRIP", "HTML", "INSPIRE", "rep_info"}
)
"""Folders of a SAFE product that hold no band images."""

ITEM = "item.json"
"""File name of the STAC item in a folder that is a product."""


def absolute(text: str, folder: Path) -> str:
    """The absolute path or the URL of a product, valid on all workers.

    Args:
        text: Path, file:// or other URL, as written in a list.
        folder: Folder of the list, which relative paths are resolved against.
    """
    text = local_path(text)
    return text if "://" in text else str(folder.absolute() / text)


def listed_product(address: str) -> ListedProduct:
    """A product with its name and size, as far as they are known without opening it.

    No server is contacted. A path that does not exist, or is not a product, is returned like any
    other; the worker reports the error.

    Args:
        address: From `absolute`.
    """
    name = name_of(address)
    try:
        state = None if "://" in address else Path(address).stat()
    except (OSError, ValueError):  # missing, not accessible, or not a valid path
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
    """The SAFE folder of a metadata file, or the file if the folder has several of them.

    So the folder and its only metadata file are recognised as the same product.
    """
    patterns = ("MTD_MSI*.xml", "S2?_*_MTD_SAF*.xml")
    metadata = [each for pattern in patterns for each in xml.parent.glob(pattern)]
    return xml.parent if metadata == [xml] else xml


def name_of(address: str) -> str:
    """The name of a product, derived from its path or URL."""
    path = PurePosixPath(unquote(urlsplit(address).path) if is_web(address) else address)
    if path.name == ITEM or path.suffix.lower() == ".xml":
        path = path.parent
    while path.suffix.lower() in FORMAT_SUFFIXES:
        path = path.with_suffix("")
    return path.name


def safe_size(folder: Path) -> int | None:
    """Size in bytes of the images of a SAFE product or granule folder; None without images."""
    return _image_bytes(os.fspath(folder)) or None


def _image_bytes(folder: str) -> int:
    """Size of the images in a folder and its subfolders; 0 if it cannot be read."""
    total = 0
    try:
        with os.scandir(folder) as found:
            for each in found:
                if each.name.endswith(".jp2"):
                    total += each.stat().st_size
                elif each.name not in FOLDERS_WITHOUT_BANDS and each.is_dir():
                    total += _image_bytes(each.path)
    except OSError:
        return 0
    return total


def local_item(path: Path) -> ListedProduct | None:
    """The STAC item in a file; None if the file holds none."""
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return None
    is_item = isinstance(document, dict) and document.get("type") == "Feature"
    return item_at(str(path), document) if is_item else None
