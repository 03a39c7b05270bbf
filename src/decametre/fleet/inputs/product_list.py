"""The products of a fleet, from a list, a folder, an ItemCollection or a static catalog.

| INPUT | its products |
|---|---|
| text file | one path or URL per line; blank lines and comments (from `#`) are skipped |
| `.csv` | one per row, in a column `product`, `source`, `path`, `href` or `url`; optional `name` |
| folder | the SAFE and Zarr folders, zips, folders with an `item.json` and STAC items in it |
| STAC ItemCollection, catalog, collection | their items; a path or a URL |
| a product | this product |

Relative paths are resolved against the folder of the list. No product is opened: a missing or
damaged one fails later in its worker, without stopping the others. It is an error if the list
cannot be read or is empty.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from decametre.errors import FleetError
from decametre.fleet.inputs.items import Document, item_at, item_of_collection
from decametre.fleet.inputs.naming import ListedProduct, unique_entries
from decametre.fleet.inputs.paths import ITEM, absolute, listed_product, local_item
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.inputs.static_catalog import catalog_items
from decametre.sentinel2.documents import read_document, server_session
from decametre.sentinel2.hrefs import is_web
from decametre.sentinel2.opening import is_safe
from decametre.sentinel2.zarr_store import is_zarr

log = logging.getLogger(__name__)

COLUMNS = ("product", "source", "path", "href", "url")
"""Columns of a CSV file that may hold the products; the first one that exists is used."""

COMMENT = re.compile(r"(^|\s)#.*")
"""A comment in a text file. A `#` within a path or a URL does not start one."""

SEPARATORS = {";": "';'", "\t": "a tab"}
"""Column separators that spreadsheets write in place of commas, with their names."""

JSON = (".json", ".geojson")


def read_listing(source: str, items_folder: Path) -> list[ProductEntry]:
    """The products of a list.

    Args:
        source: The list, see the table in the module's docstring.
        items_folder: Folder in which items without an address are saved, as `NAME.json`.

    Returns:
        At least one product, in the order of the list, with unique sources and names.

    Raises:
        FleetError: The list cannot be read or is empty.
        DocumentError: A STAC document cannot be read.
        OutputError: An item cannot be written to `items_folder`.
    """
    source = absolute(source, Path.cwd())
    entries = unique_entries(_products_of(source), items_folder)
    if not entries:
        raise FleetError(f"{source}: it lists no product")
    missing = [each for each in entries if each.size is None and not _exists(each.source)]
    if missing:
        log.warning(
            "%d of %d products do not exist on this machine; the first: %s",
            len(missing),
            len(entries),
            missing[0].source,
        )
    return entries


def _exists(source: str) -> bool:
    try:
        return "://" in source or Path(source).exists()
    except (OSError, ValueError):
        return False


def _products_of(source: str) -> Iterator[ListedProduct]:
    """The products of a list of any form."""
    path = Path(source)
    if is_web(source):
        return _in_document(source)
    if "://" in source:
        raise FleetError(f"{source}: only file, http and https URLs can be read")
    if not _exists(source):
        raise FleetError(f"{source}: no such file or folder; give a list of products")
    if path.is_dir():
        is_product = is_safe(path) or is_zarr(path) or (path / ITEM).is_file()
        return iter([listed_product(source)]) if is_product else _in_folder(path)
    match path.suffix.lower():
        case ".json" | ".geojson":
            return _in_document(source)
        case ".csv":
            return _in_csv(path)
        case ".zip" | ".xml":
            return iter([listed_product(source)])
        case _:
            return _in_text(path)


# Lists ------------------------------------------------------------------------------------------


def _in_text(path: Path) -> Iterator[ListedProduct]:
    """The products of a text file."""
    for line in _read_text(path).split("\n"):
        product = COMMENT.sub("", line).strip()
        if product:
            yield listed_product(absolute(product, path.parent))


def _in_csv(path: Path) -> Iterator[ListedProduct]:
    """The products of a CSV."""
    reader = csv.DictReader(io.StringIO(_read_text(path)), skipinitialspace=True, strict=True)
    try:
        columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
        column = next((columns[name] for name in COLUMNS if name in columns), None)
        if column is None:
            for separator, name in SEPARATORS.items():
                if any(separator in column_name for column_name in columns):
                    raise FleetError(
                        f"{path}: its columns are separated by {name}; separate them by commas"
                    )
            raise FleetError(
                f"{path}: its first line names no column {', '.join(COLUMNS[:-1])} or "
                f"{COLUMNS[-1]}, but {', '.join(columns) or 'nothing'}; add a line of column names"
            )
        for row in reader:
            product, name = ((row.get(key) or "").strip() for key in (column, columns.get("name")))
            if product:
                found = listed_product(absolute(product, path.parent))
                yield dataclasses.replace(found, name=name) if name else found
            elif any(row.values()):
                raise FleetError(f"{path}, line {reader.line_num}: column {column} is empty")
    except csv.Error as error:
        raise FleetError(
            f"{path}, after line {reader.line_num}: not valid CSV ({error})"
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except OSError as error:
        raise FleetError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise FleetError(
            f"{path}: neither a product nor a list of products in UTF-8; give a text file with "
            "one product per line, a CSV file, a folder, or a STAC ItemCollection or catalog"
        ) from error


# Folders ----------------------------------------------------------------------------------------


def _in_folder(folder: Path) -> Iterator[ListedProduct]:
    """The products in a folder, sorted by name; other and hidden files are skipped.

    A SAFE folder and its zip next to it are one product, which is read from the folder.
    """
    try:
        paths = sorted(folder.absolute().iterdir())
    except OSError as error:
        raise FleetError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for path in paths:
        suffix = path.suffix.lower()
        folders = path.with_suffix(""), path.with_suffix(".SAFE")
        unpacked = suffix == ".zip" and any(
            each.is_dir() and (is_safe(each) or is_zarr(each)) for each in folders
        )
        if unpacked or path.name.startswith("."):
            continue
        if path.is_dir():
            is_product = is_safe(path) or is_zarr(path) or (path / ITEM).is_file()
            found = listed_product(str(path)) if is_product else None
        elif suffix == ".zip":
            found = listed_product(str(path))
        else:
            found = local_item(path) if suffix in JSON else None
        if found is not None:
            yield found


# STAC -------------------------------------------------------------------------------------------


def _in_document(source: str) -> Iterator[ListedProduct]:
    """The products of a JSON document."""
    session = server_session(source)
    document = read_document(source, session)
    kind = document.get("type")
    if "conformsTo" in document:
        raise FleetError(
            f"{source}: a STAC API, not a list; search it by --search {source} with --bbox, "
            "--datetime or both"
        )
    if kind == "Feature":
        return iter([item_at(source, document)])
    if kind == "FeatureCollection":
        return _in_collection(document, source)
    if kind in ("Catalog", "Collection") or (kind is None and "stac_version" in document):
        return catalog_items(document, source, session)
    raise FleetError(
        f"{source}: JSON of type {kind}, not STAC; give an ItemCollection, a catalog, a "
        "collection or an item"
    )


def _in_collection(document: Document, source: str) -> Iterator[ListedProduct]:
    """The items of an ItemCollection."""
    features, links = document.get("features"), document.get("links")
    if not isinstance(features, list):
        raise FleetError(f"{source}: a FeatureCollection without features")
    if any(isinstance(link, dict) and link.get("rel") == "next" for link in links or ()):
        log.warning(
            "%s is one of several pages of an API's response; use --search to get all items", source
        )
    for number, feature in enumerate(features):
        if not isinstance(feature, dict):
            raise FleetError(f"{source}: feature {number} is not a STAC item")
        yield item_of_collection(feature, source)
