"""Paths of the files that mapping land cover writes."""

from __future__ import annotations

from pathlib import Path

from decametre.io.outputs import OutputFiles


class MapFiles(OutputFiles):
    """The files of a land-cover map; the image holds the probability of each class."""

    @property
    def classes(self) -> Path:
        """The GeoTIFF of the most probable class."""
        return self.next_to_image("classes.tif")

    @property
    def class_names(self) -> Path:
        """Names of the classes, which GDAL reads with `classes`."""
        return self.next_to_image("classes.tif.aux.xml")

    @property
    def features(self) -> Path:
        """The patches as GeoJSON, if they are written."""
        return self.next_to_image("geojson")

    @property
    def companions(self) -> tuple[Path, ...]:
        """All but the image."""
        return self.classes, self.class_names, self.features, self.item
