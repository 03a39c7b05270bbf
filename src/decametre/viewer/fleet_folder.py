"""The completed products in the folder of a fleet: footprints for a map."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from decametre.errors import ViewError
from decametre.viewer.opening import GEOTIFF, QUALITY

CATALOG = "catalog.json"


class FleetFolder:
    """The products that the STAC catalog of a folder lists. Nothing outside the folder is read.

    Args:
        folder: The folder of results, with a `catalog.json`.

    Raises:
        ViewError: There is no catalog, or it cannot be read, or lists no product.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if not (folder / CATALOG).is_file():
            raise ViewError(
                f"{folder}: no {CATALOG} in this folder; give the folder of a fleet's results, or "
                "the GeoTIFF or the STAC item of one result"
            )
        self.items = list(self._linked_items(self.folder / CATALOG))
        if not self.items:
            raise ViewError(f"{folder}: no product is completed yet")

    @property
    def title(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @cached_property
    def footprints(self) -> list[dict[str, Any]]:
        """Name, outline and figures of each product, in the order of `items`."""
        return [_footprint(path, number) for number, path in enumerate(self.items)]

    def _linked_items(self, catalog: Path) -> Iterator[Path]:
        """The items of a catalog and of the catalogs below it that exist, each once."""
        waiting, seen = [catalog], set()
        while waiting:
            path = waiting.pop(0)
            for link in _read(path).get("links", []):
                if link.get("rel") not in ("child", "item"):
                    continue
                target = (path.parent / link["href"]).resolve()
                inside = self.folder in target.parents
                if target in seen or not inside or not target.is_file():
                    continue
                seen.add(target)
                if link["rel"] == "child":
                    waiting.append(target)
                elif self._has_image(target):
                    yield target

    def _has_image(self, item: Path) -> bool:
        """Whether the image of an item is a GeoTIFF in the folder."""
        href = str(_read(item).get("assets", {}).get("data", {}).get("href", ""))
        image = (item.parent / href).resolve()
        return href.lower().endswith(GEOTIFF) and self.folder in image.parents


def _footprint(path: Path, number: int) -> dict[str, Any]:
    item = _read(path)
    properties = item.get("properties", {})
    return {
        "number": number,
        "name": item.get("id", path.stem),
        "geometry": item.get("geometry"),
        "datetime": item.get("datetime") or properties.get("datetime"),
        "cloud_cover": properties.get("eo:cloud_cover"),
        "tile": properties.get("s2:mgrs_tile"),
        "residual": _residual(properties.get(QUALITY, {})),
    }


def _residual(card: Mapping[str, Any]) -> float | None:
    """Mean over bands of the consistency residual, relative to the mean of the band."""
    entries = [band.get("consistency", {}) for band in card.get("bands", {}).values()]
    residuals = [entry["relative"] for entry in entries if entry.get("relative") is not None]
    return fmean(residuals) if residuals else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ViewError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ViewError(f"{path}: is no STAC catalog or item")
    return content
