"""What a fleet is to do, from a list, a folder, an ItemCollection or a static catalog.

| INPUT | its products |
|---|---|
| text file | one a line: path or URL; blank lines and comments, from a `#` on, do not count |
| `.csv` | one a row, in a column `product`, `source`, `path`, `href` or `url`; a column `name` |
| folder | SAFE folders, SAFE zips, folders of an `item.json` and STAC items that lie in it |
| STAC ItemCollection, catalog, collection | their items; a path or a URL |
| a product itself | that one |

Relative paths begin at the folder of the list. No product is opened: what is not there, or is
damaged, is a product that fails by itself later. Only a list that cannot be read, or has nothing
in it, is an error.
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
from decametre.fleet.inputs.documents import read_document, server_access
from decametre.fleet.inputs.items import Document, item_at, item_inside
from decametre.fleet.inputs.naming import ListedProduct, entries_of
from decametre.fleet.inputs.paths import ITEM, absolute, listed_product, local_item
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.inputs.static_catalog import catalog_items
from decametre.sentinel2.hrefs import is_web
from decametre.sentinel2.opening import is_safe

log = logging.getLogger(__name__)

COLUMNS = ("product", "source", "path", "href", "url")
"""Columns of a CSV in which products may stand; the first that is there counts."""

COMMENT = re.compile(r"(^|\s)#.*")
"""Of a text file. A `#` inside a path or a URL begins none."""

SEPARATORS = {";": "';'", "\t": "a tab"}
"""What else spreadsheets write between columns, and how it is called."""

JSON = (".json", ".geojson")


def read_listing(source: str, items_folder: Path) -> list[ProductEntry]:
    """The products of a list.

    Args:
        source: The list, as in this module's table.
        items_folder: Where items that have no address of their own are kept, as `NAME.json`.

    Returns:
        At least one, each source and each name once, in the list's order.

    Raises:
        FleetError: The list cannot be read, or there is nothing in it.
        OutputError: An item cannot be written to `items_folder`.
    """
    source = absolute(source, Path.cwd())
    entries = entries_of(_found(source), items_folder)
    if not entries:
        raise FleetError(f"{source}: no product in it")
    missing = [each for each in entries if each.size is None and not _is_there(each.source)]
    if missing:
        log.warning(
            "%d of %d products are not there, as far as this machine can see; the first: %s",
            len(missing),
            len(entries),
            missing[0].source,
        )
    return entries


def _is_there(source: str) -> bool:
    try:
        return "://" in source or Path(source).exists()
    except (OSError, ValueError):
        return False


def _found(source: str) -> Iterator[ListedProduct]:
    """The products of a list, whatever form it has."""
    path = Path(source)
    if is_web(source):
        return _in_document(source)
    if "://" in source:
        raise FleetError(f"{source}: only file, http and https URLs can be read")
    if not _is_there(source):
        raise FleetError(f"{source}: no such file or folder; give a list of products")
    if path.is_dir():
        alone = is_safe(path) or (path / ITEM).is_file()
        return iter([listed_product(source)]) if alone else _in_folder(path)
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
            for sign, called in SEPARATORS.items():
                if any(sign in name for name in columns):
                    raise FleetError(
                        f"{path}: its columns are separated by {called}, not by commas; save it "
                        "with commas"
                    )
            raise FleetError(
                f"{path}: none of its columns ({', '.join(columns) or 'it has none'}) is called "
                f"{', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; its first line has to name them"
            )
        for row in reader:
            product, name = ((row.get(key) or "").strip() for key in (column, columns.get("name")))
            if product:
                found = listed_product(absolute(product, path.parent))
                yield dataclasses.replace(found, name=name) if name else found
            elif any(row.values()):
                raise FleetError(f"{path}, line {reader.line_num}: no {column} in it")
    except csv.Error as error:
        raise FleetError(f"{path}, after line {reader.line_num}: not CSV ({error})") from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets begin a CSV with a mark
    except OSError as error:
        raise FleetError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise FleetError(
            f"{path}: neither a product nor a list of products in UTF-8; give a text file with a "
            "product a line, a CSV, a folder, or a STAC ItemCollection or catalog"
        ) from error


# Folders ----------------------------------------------------------------------------------------


def _in_folder(folder: Path) -> Iterator[ListedProduct]:
    """The products that lie in a folder, by name; anything else in it does not count."""
    try:
        paths = sorted(folder.absolute().iterdir())
    except OSError as error:
        raise FleetError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for path in paths:
        suffix = path.suffix.lower()
        if path.is_dir():
            product = is_safe(path) or (path / ITEM).is_file()
            found = listed_product(str(path)) if product else None
        elif suffix == ".zip":
            found = listed_product(str(path))
        else:
            found = local_item(path) if suffix in JSON else None
        if found is not None:
            yield found


# STAC -------------------------------------------------------------------------------------------


def _in_document(source: str) -> Iterator[ListedProduct]:
    """The products of a JSON document."""
    access = server_access()
    document = read_document(source, access)
    kind = document.get("type")
    if "conformsTo" in document:
        raise FleetError(
            f"{source}: a STAC API, not a list; search it: --search {source} with --bbox, "
            "--datetime or both"
        )
    if kind == "Feature":
        return iter([item_at(source, document)])
    if kind == "FeatureCollection":
        return _in_collection(document, source)
    if kind in ("Catalog", "Collection") or (kind is None and "stac_version" in document):
        return catalog_items(document, source, access)
    raise FleetError(
        f"{source}: JSON, but not STAC (its type is {kind}); give an ItemCollection, a catalog, "
        "a collection or an item"
    )


def _in_collection(document: Document, source: str) -> Iterator[ListedProduct]:
    """The items of an ItemCollection."""
    features, links = document.get("features"), document.get("links")
    if not isinstance(features, list):
        raise FleetError(f"{source}: a FeatureCollection without features")
    if any(isinstance(link, dict) and link.get("rel") == "next" for link in links or ()):
        log.warning(
            "%s is one page of an API's answer, and there are more; --search finds all", source
        )
    for number, feature in enumerate(features):
        if not isinstance(feature, dict):
            raise FleetError(f"{source}: feature {number} is no STAC item")
        yield item_inside(feature, source)
