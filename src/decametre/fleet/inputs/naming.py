"""A unique name for each product of a list, usable as a folder name."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.errors import OutputError
from decametre.files import write_file
from decametre.fleet.inputs.product_entry import FOLDER, ProductEntry

log = logging.getLogger(__name__)

RESERVED_NAMES = frozenset({FOLDER, "catalog.json", "failures.jsonl", "fleet.log", "report.html"})
"""Names of the fleet's own files in the output folder."""

MAX_NAME_BYTES = 200
"""Longest name. File systems allow 255 bytes; files next to the result need a longer name."""

DIGEST_DIGITS = 8
"""Hexadecimal digits that distinguish products with the same name; more if these collide."""


@dataclass(frozen=True)
class ListedProduct:
    """A product of an input, before it gets its unique name.

    Attributes:
        name: Name given by its publisher.
        source: Path or URL; for an item without an address, a text that identifies it.
        size: Size of the input in bytes, or None.
        item: The STAC item, if it has no path or URL. It is then saved in a file.
    """

    name: str
    source: str
    size: int | None = None
    item: dict[str, Any] | None = None


def unique_entries(products: Iterable[ListedProduct], items_folder: Path) -> list[ProductEntry]:
    """Give each product a unique name, and save the items that have no address.

    The name of a product depends only on the products before it. The first of several products
    with the same name keeps it; the others get a digest of their source as a suffix.

    Args:
        products: The products. They are consumed one by one, so that only one item needs to be in
            memory.
        items_folder: Folder for the items without an address, as `NAME.json`; created if needed.

    Returns:
        The products in the same order; a source listed twice is returned once.

    Raises:
        OutputError: An item cannot be written.
    """
    entries: list[ProductEntry] = []
    names, sources, duplicates = set(RESERVED_NAMES), set(), 0
    for product in products:
        if product.source in sources:
            duplicates += 1
            continue
        sources.add(product.source)
        name = _unique_name(product, names)
        names.add(name)
        source = product.source
        if product.item is not None:
            source = _save_item(product.item, items_folder / f"{name}.json")
        entries.append(ProductEntry(name, source, product.size))
    if duplicates:
        log.info(
            "%d of %d products are listed twice; each is processed once",
            duplicates,
            duplicates + len(entries),
        )
    return entries


def safe_name(name: str) -> str:
    """Turn any text into a folder name without separators, leading dots and shell characters."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-").rstrip(".")
    return clean[:MAX_NAME_BYTES] or "product"


def _unique_name(product: ListedProduct, names: set[str]) -> str:
    """A name that is not in `names`."""
    plain = safe_name(product.name)
    if plain not in names:
        return plain
    digest = hashlib.sha256(product.source.encode(errors="surrogateescape")).hexdigest()
    candidates = (
        f"{plain[: MAX_NAME_BYTES - 1 - digits]}_{digest[:digits]}"
        for digits in range(DIGEST_DIGITS, len(digest) + 1)
    )
    return next(name for name in candidates if name not in names)


def _save_item(item: dict[str, Any], path: Path) -> str:
    """Write an item atomically, and return its absolute path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    write_file(path, json.dumps(item))
    return str(path.absolute())
