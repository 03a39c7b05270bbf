"""The completed products in the folder of a fleet: footprints for a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from decametre.errors import ViewError
from decametre.viewer.opening import QUALITY, image_href, read_item, read_json

CATALOG = "catalog.json"


class FleetFolder:
    """The products that the STAC catalog of a folder lists. Nothing outside the folder is read.

    Attributes:
        items: Paths of the STAC items.
        footprints: Number, name, outline and figures of each product, in the order of `items`.

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
        items = dict(self._linked_items(self.folder / CATALOG))
        if not items:
            raise ViewError(f"{folder}: no completed product with a GeoTIFF in this folder")
        self.items = list(items)
        self.footprints = [
            {"number": number, **_footprint(path, item)}
            for number, (path, item) in enumerate(items.items())
        ]

    @property
    def title(self) -> str:
        """Name of the folder."""
        return self.folder.name

    def _linked_items(self, catalog: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The items of a catalog and of the catalogs below it that exist, each once."""
        waiting, seen = [catalog], set()
        while waiting:
            path = waiting.pop(0)
            for link in read_json(path).get("links", []):
                if link.get("rel") not in ("child", "item"):
                    continue
                target = (path.parent / link["href"]).resolve()
                inside = self.folder in target.parents
                if target in seen or not inside or not target.is_file():
                    continue
                seen.add(target)
                if link["rel"] == "child":
                    waiting.append(target)
                elif self._has_image(target, item := read_item(target)):
                    yield target, item

    def _has_image(self, path: Path, item: Mapping[str, Any]) -> bool:
        """Whether the image of an item is a GeoTIFF in the folder."""
        href = image_href(item)
        return bool(href) and self.folder in (path.parent / href).resolve().parents


def _footprint(path: Path, item: Mapping[str, Any]) -> dict[str, Any]:
    properties = item.get("properties", {})
    return {
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
