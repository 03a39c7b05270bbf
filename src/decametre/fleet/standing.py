"""Whether a product is done: its STAC item is the mark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.fleet.entry import Entry
from decametre.io.item import DERIVED_FROM, SETTINGS, source_href
from decametre.version import __version__


@dataclass(frozen=True)
class Standing:
    """What stands where a product's result is to be.

    Attributes:
        done: The very result that would be made again.
        otherwise: In which way a finished result differs from it; None where there is none.
    """

    done: bool
    otherwise: str | None = None


def item_path(out: Path, entry: Entry) -> Path:
    """Where the item of a product's result stands."""
    return out / entry.name / f"{entry.name}.json"


def standing(out: Path, entry: Entry, settings: dict[str, Any]) -> Standing:
    """Look at a product's result.

    Args:
        out: The folder of results.
        entry: The product.
        settings: With which it is to be made, as they stand in an item.
    """
    path = item_path(out, entry)
    try:
        item = json.loads(path.read_bytes())
    except (OSError, ValueError):  # not there; an item is moved into place whole
        return Standing(done=False)
    try:
        return _compared(item, path.parent, entry, settings)
    except (AttributeError, LookupError, TypeError):
        return Standing(False, "it is no item of decametre")


def _compared(
    item: dict[str, Any], folder: Path, entry: Entry, settings: dict[str, Any]
) -> Standing:
    """An item, as far as it is one, against what would be made."""
    if not _assets_stand(item, folder):
        return Standing(done=False)
    said = item["properties"]
    hrefs = [link["href"] for link in item["links"] if link["rel"] == DERIVED_FROM]
    if source_href(entry.source, folder) not in hrefs:
        return Standing(False, f"made from {', '.join(hrefs) or 'an unknown product'}")
    version = said.get("processing:software", {}).get("decametre")
    if version != __version__:
        return Standing(False, f"made by version {version}, this is {__version__}")
    made = said.get(SETTINGS)
    if not isinstance(made, dict):
        return Standing(False, "its item does not say with which settings it was made")
    for key in settings | made:
        if settings.get(key) != made.get(key):
            return Standing(False, f"made with {key} {made.get(key)}, not {settings.get(key)}")
    return Standing(done=True)


def _assets_stand(item: dict[str, Any], folder: Path) -> bool:
    """Whether the files that an item lists are there."""
    return all((folder / asset["href"]).exists() for asset in item["assets"].values())
