"""Names for the products of a list: each that of a folder, and each but once."""

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
from decametre.fleet.inputs.product_entry import FOLDER, ProductEntry

log = logging.getLogger(__name__)

TAKEN = frozenset({FOLDER, "catalog.json", "failures.jsonl", "fleet.log", "report.html"})
"""What else stands beside the products' folders."""

MAX_NAME = 200
"""Longest name, in bytes: a file system takes 255, of which files beside the result need some."""

DIGITS = 8
"""Hexadecimal digits by which products of one name are told apart; more if these do not do."""


@dataclass(frozen=True)
class ListedProduct:
    """A product that an input names, before it has a name of its own in the list.

    Attributes:
        name: As its publisher calls it.
        source: Its path or URL; of an item without one, what tells it from others.
        size: Bytes of the input, or None.
        item: The STAC item, if it has no path or URL; one is made for it.
    """

    name: str
    source: str
    size: int | None = None
    item: dict[str, Any] | None = None


def entries_of(found: Iterable[ListedProduct], items_folder: Path) -> list[ProductEntry]:
    """Give every product its name; keep items that have no address.

    A product's name depends on those before it in the list only: of several that are called the
    same, the first is called so, the others have a digest of their sources at the end.

    Args:
        found: The products. They are taken one by one, so no more than one item need be in memory.
        items_folder: Where items that have no address are kept, as `NAME.json`; made if need be.

    Returns:
        The same in the same order, those of one source once.

    Raises:
        OutputError: An item cannot be written.
    """
    entries: list[ProductEntry] = []
    names, sources, again = set(TAKEN), set(), 0
    for each in found:
        if each.source in sources:
            again += 1
            continue
        sources.add(each.source)
        name = _name(each, names)
        names.add(name)
        address = each.source if each.item is None else _keep(each.item, name, items_folder)
        entries.append(ProductEntry(name, address, each.size))
    if again:
        log.info("%d of %d are named again; they are done once", again, again + len(entries))
    return entries


def safe_name(name: str) -> str:
    """A name as that of a folder: no separator, not hidden, nothing for which a shell needs quotes.

    Args:
        name: Any text.
    """
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-").rstrip(".")
    return clean[:MAX_NAME] or "product"


def _name(found: ListedProduct, names: set[str]) -> str:
    """A name that is not among `names`."""
    plain = safe_name(found.name)
    if plain not in names:
        return plain
    digest = hashlib.sha256(found.source.encode(errors="surrogateescape")).hexdigest()
    longer = (
        f"{plain[: MAX_NAME - 1 - digits]}_{digest[:digits]}"
        for digits in range(DIGITS, len(digest) + 1)
    )
    return next(name for name in longer if name not in names)


def _keep(item: dict[str, Any], name: str, folder: Path) -> str:
    """Write an item, all or nothing, and return its path."""
    path, partial = folder / f"{name}.json", folder / f".{name}.json.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(item), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write ({error.strerror or error})") from error
    return str(path.absolute())
