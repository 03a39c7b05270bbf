"""Whether a product is done: its STAC item is the mark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.io.stac_item import DERIVED_FROM, SETTINGS, source_href
from decametre.version import __version__

SHORT = 60
"""Characters of a setting's value, at most, that a message has."""

FILES = "files"
"""The setting that has size and time of every list that was given, by its path."""


@dataclass(frozen=True)
class ResultState:
    """Whether the result of a product exists already.

    Attributes:
        complete: A result with the requested settings exists.
        difference: How an existing result differs from the requested one; None if there is none.
    """

    complete: bool
    difference: str | None = None


def item_path(out: Path, entry: ProductEntry) -> Path:
    """Where the item of a product's result stands."""
    return out / entry.name / f"{entry.name}.json"


def result_state(out: Path, entry: ProductEntry, settings: dict[str, Any]) -> ResultState:
    """Compare the existing result of a product with the requested one.

    Args:
        out: The folder of results.
        entry: The product.
        settings: The requested settings, as an item holds them.
    """
    path = item_path(out, entry)
    try:
        item = json.loads(path.read_bytes())
    except (OSError, ValueError):  # not there; an item is moved into place whole
        return ResultState(complete=False)
    try:
        return _compared(item, path.parent, entry, settings)
    except (AttributeError, LookupError, TypeError):
        return ResultState(False, "it is no item of decametre")


def _compared(
    item: dict[str, Any], folder: Path, entry: ProductEntry, settings: dict[str, Any]
) -> ResultState:
    """Compare an item with the requested result."""
    if not _assets_stand(item, folder):
        return ResultState(complete=False)
    said = item["properties"]
    hrefs = [link["href"] for link in item["links"] if link["rel"] == DERIVED_FROM]
    source = source_href(entry.source, folder)
    if source not in hrefs:
        made_from = ", ".join(hrefs) or "an unknown product"
        return ResultState(False, f"made from {made_from}, not {source}")
    version = said.get("processing:software", {}).get("decametre")
    if version != __version__:
        return ResultState(False, f"made by version {version}, this is {__version__}")
    made = said.get(SETTINGS)
    if not isinstance(made, dict):
        return ResultState(False, "its item does not say with which settings it was made")
    if any(settings.get(key) != made.get(key) for key in settings | made):
        return ResultState(False, _difference(made, settings))
    return ResultState(complete=True)


def _difference(made: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In which way settings differ: all that do, by name, with their values where those are short.

    Args:
        made: Those of a result that stands.
        wanted: Others.
    """
    differ = [key for key in wanted | made if wanted.get(key) != made.get(key)]
    said = []
    old, new = made.get(FILES) or {}, wanted.get(FILES) or {}
    changed = [path for path in old if path in new and old[path] != new[path]]
    if changed:
        differ.remove(FILES)
        have = "has" if len(changed) == 1 else "have"
        said.append(f"{', '.join(changed)} {have} changed since it was made")
    values = [(key, _shown(made.get(key)), _shown(wanted.get(key))) for key in differ]
    shown = "; ".join(f"{key} {was}, not {will}" for key, was, will in values if was and will)
    if len(differ) == 1 and shown:
        said.append(f"made with {shown}")
    elif differ:
        said.append(f"made with other {', '.join(differ)}" + f" ({shown})" * bool(shown))
    return "; ".join(said)


def _shown(value: Any) -> str:
    """A setting's value as a message has it; nothing where it cannot be read at a glance."""
    match value:
        case None:
            text = "unset"
        case list():
            text = ",".join(map(_shown, value)) or "none"
        case dict():
            text = ""
        case _:
            text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHORT else ""


def _assets_stand(item: dict[str, Any], folder: Path) -> bool:
    """Whether the files that an item lists are there."""
    return all((folder / asset["href"]).exists() for asset in item["assets"].values())
