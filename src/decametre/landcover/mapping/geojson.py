"""Write classified patches as GeoJSON one by one, as there may be millions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from rasterio.warp import transform_geom

Box = tuple[float, float, float, float]
"""West, south, east, north."""


class PatchFeatures:
    """Write a FeatureCollection with a line per patch; a context manager.

    Args:
        path: The file.
        crs: CRS of the boxes. They are converted to longitude and latitude.
        about: Foreign members of the collection.
    """

    def __init__(self, path: Path, crs: str, about: Mapping[str, Any]) -> None:
        self.path, self.crs, self.about = path, crs, about
        self.count = 0

    def __enter__(self) -> Self:
        self._file = self.path.open("w", encoding="utf-8")
        head = json.dumps({"type": "FeatureCollection", **self.about}, ensure_ascii=False)
        self._file.write(f'{head[:-1]}, "features": [')
        return self

    def write(self, boxes: Sequence[Box], properties: Sequence[Mapping[str, Any]]) -> None:
        """Add patches.

        Args:
            boxes: Boxes of the patches.
            properties: Properties of each patch.
        """
        if not boxes:
            return
        rings = [
            {"type": "Polygon", "coordinates": [[(w, s), (e, s), (e, n), (w, n), (w, s)]]}
            for w, s, e, n in boxes
        ]
        shapes = transform_geom(self.crs, "EPSG:4326", rings, precision=7)
        for shape, values in zip(shapes, properties, strict=True):
            feature = {"type": "Feature", "geometry": dict(shape), "properties": values}
            self._file.write(",\n" if self.count else "\n")
            self._file.write(json.dumps(feature, ensure_ascii=False))
            self.count += 1

    def __exit__(self, *_: object) -> None:
        self._file.write("\n]}\n")
        self._file.close()
