"""Whether the result of a product is complete: its STAC item is written last."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.files import read_json
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.io.stac_item import DERIVED_FROM, SETTINGS, source_href
from decametre.version import __version__

MAX_VALUE_LENGTH = 60
"""Characters of the longest setting that a message shows."""

FILES = "files"
"""The setting that holds size and time of each list, by path."""


@dataclass(frozen=True)
class ResultState:
    """Whether the result of a product exists already.

    Attributes:
        complete: A result with the requested settings exists.
        difference: How an existing result differs from the requested one; None if there is none.
    """

    complete: bool
    difference: str | None = None


def item_href(entry: ProductEntry) -> str:
    """Path of the STAC item of a product's result, relative to the output folder."""
    return f"{entry.name}/{entry.name}.json"


def item_path(out: Path, entry: ProductEntry) -> Path:
    """Path of the STAC item of a product's result."""
    return out / item_href(entry)


def result_state(out: Path, entry: ProductEntry, settings: dict[str, Any]) -> ResultState:
    """Compare the existing result of a product with the requested one.

    Args:
        out: The output folder.
        entry: The product.
        settings: The requested settings, as in an item.
    """
    path = item_path(out, entry)
    try:
        item = read_json(path)
    except (OSError, ValueError):  # missing or damaged
        return ResultState(complete=False)
    try:
        return _compare_item(item, path.parent, entry, settings)
    except (AttributeError, LookupError, TypeError, ValueError, OSError):
        return ResultState(False, "not a STAC item of decametre")


def _compare_item(
    item: dict[str, Any], folder: Path, entry: ProductEntry, settings: dict[str, Any]
) -> ResultState:
    """Compare an item with the requested result."""
    if not all((folder / asset["href"]).exists() for asset in item["assets"].values()):
        return ResultState(complete=False)
    properties = item["properties"]
    hrefs = [link["href"] for link in item["links"] if link["rel"] == DERIVED_FROM]
    source = source_href(entry.source, folder)
    if source not in hrefs:
        actual = ", ".join(hrefs) or "an unknown product"
        return ResultState(False, f"made from {actual}, not {source}")
    version = properties.get("processing:software", {}).get("decametre")
    if version != __version__:
        return ResultState(False, f"made by version {version}, this is {__version__}")
    existing = properties.get(SETTINGS)
    if not isinstance(existing, dict):
        return ResultState(False, "its STAC item does not state its settings")
    if any(settings.get(key) != existing.get(key) for key in settings | existing):
        return ResultState(False, _describe_difference(existing, settings))
    return ResultState(complete=True)


def _describe_difference(existing: dict[str, Any], requested: dict[str, Any]) -> str:
    """Name the settings that differ, with their values if those are short.

    Args:
        existing: Settings of the existing result.
        requested: The requested settings.
    """
    names = [key for key in requested | existing if requested.get(key) != existing.get(key)]
    parts = []
    old_files, new_files = existing.get(FILES) or {}, requested.get(FILES) or {}
    changed = [
        path for path in old_files if new_files.get(path, old_files[path]) != old_files[path]
    ]
    if changed:
        names.remove(FILES)
        have = "has" if len(changed) == 1 else "have"
        parts.append(f"{', '.join(changed)} {have} changed since it was made")
    values = [(key, _short(existing.get(key)), _short(requested.get(key))) for key in names]
    shown = "; ".join(f"{key} {old}, not {new}" for key, old, new in values if old and new)
    if len(names) == 1 and shown:
        parts.append(f"made with {shown}")
    elif names:
        parts.append(f"made with other {', '.join(names)}" + f" ({shown})" * bool(shown))
    return "; ".join(parts)


def _short(value: Any) -> str:
    """The value of a setting as text; empty if it is too long or nested for a message."""
    match value:
        case None:
            text = "unset"
        case list():
            text = ",".join(map(_short, value)) or "none"
        case dict():
            text = ""
        case _:
            text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE_LENGTH else ""
