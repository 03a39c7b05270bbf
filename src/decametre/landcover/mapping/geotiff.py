"""Write maps as Cloud-Optimized GeoTIFFs: probabilities, and the most probable class.

Both are written row by row, from north to south.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter

from decametre.io.cog import CogFile
from decametre.sentinel2.grid import Window
from decametre.superres.sharpening.image_writer import BandStatistics

ENCODINGS = {"probability": "float32", "percent": "uint8"}
"""Encodings of probabilities, and their data types."""

NO_CLASS = 255
"""Value of pixels without data in maps of uint8."""


@dataclass(frozen=True)
class MapGrid:
    """The pixel grid of a map, north up.

    Attributes:
        crs: Coordinate reference system.
        left: Easting of the western edge, in metres.
        top: Northing of the northern edge.
        gsd: Edge of a pixel in metres.
        rows: Number of rows.
        columns: Number of columns.
    """

    crs: str
    left: float
    top: float
    gsd: int
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def transform(self) -> tuple[float, ...]:
        """The six affine coefficients (a, b, c, d, e, f)."""
        return (float(self.gsd), 0.0, self.left, 0.0, -float(self.gsd), self.top)

    def profile(self, count: int, dtype: str, nodata: float) -> dict[str, Any]:
        """Profile of a file with `count` bands that is written row by row."""
        return {
            "width": self.columns,
            "height": self.rows,
            "count": count,
            "dtype": dtype,
            "crs": self.crs,
            "transform": rasterio.Affine(*self.transform),
            "nodata": nodata,
            "tiled": False,
            "blockxsize": self.columns,
            "blockysize": 1,
        }


def bytes_needed(grid: MapGrid, classes: int, encoding: str) -> int:
    """Upper bound of the disk space for both maps, with scratch files and overviews."""
    each = classes * np.dtype(ENCODINGS[encoding]).itemsize + 1
    return int(grid.rows * grid.columns * each * (1 + 4 / 3)) + 2_000_000


class ProbabilityWriter(CogFile):
    """Write a COG of probabilities with a band per class; see `CogFile`.

    Args:
        path: The COG.
        grid: Grid of the map.
        classes: Class names.
        encoding: `probability`: float32 with NaN as nodata. `percent`: uint8 with `NO_CLASS`.
    """

    def __init__(self, path: Path, grid: MapGrid, classes: Sequence[str], encoding: str) -> None:
        self.classes, self.encoding = tuple(classes), encoding
        self.nodata = np.nan if encoding == "probability" else NO_CLASS
        self.statistics = {name: BandStatistics() for name in classes}
        super().__init__(
            path,
            grid.profile(len(classes), ENCODINGS[encoding], self.nodata),
            {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "OVERVIEW_RESAMPLING": "AVERAGE"},
        )

    def write(self, row: int, probabilities: np.ndarray) -> None:
        """Write a row.

        Args:
            row: Number of the row, from 0 in the north.
            probabilities: float32, (columns, classes), NaN without data.
        """
        image = probabilities.T
        if self.encoding == "percent":
            percent = np.where(np.isnan(image), NO_CLASS, np.rint(100 * image))
            image = percent.astype(np.uint8)
        at = Window(0, row, image.shape[1], 1)
        for band, (name, values) in enumerate(zip(self.classes, image, strict=True), start=1):
            self.statistics[name].add(values, self.nodata)
            self.write_window(at, band, np.ascontiguousarray(values)[None])

    def finish(self, tags: Mapping[str, str]) -> None:
        """Describe the bands and make the COG.

        Args:
            tags: Metadata of the file.
        """

        def describe(dataset: DatasetWriter) -> None:
            dataset.descriptions = self.classes
            dataset.colorinterp = [ColorInterp.undefined] * len(self.classes)
            dataset.update_tags(**tags)
            if self.encoding == "percent":
                dataset.scales = [0.01] * len(self.classes)
            for band, name in enumerate(self.classes, start=1):
                dataset.update_tags(band, **self.statistics[name].tags)

        self.complete(describe)


class ClassWriter(CogFile):
    """Write a COG of the most probable class, with a colour table; see `CogFile`.

    The class names are written to `NAME.aux.xml`, from which GDAL and QGIS read them.

    Args:
        path: The COG.
        grid: Grid of the map.
        classes: Class names; a pixel's value is the index of its class.
        colours: Red, green and blue of each class.
    """

    def __init__(
        self,
        path: Path,
        grid: MapGrid,
        classes: Sequence[str],
        colours: Sequence[tuple[int, int, int]],
    ) -> None:
        self.classes, self.colours = tuple(classes), tuple(colours)
        self.counts = np.zeros(len(classes), np.int64)
        super().__init__(
            path,
            {**grid.profile(1, "uint8", NO_CLASS), "photometric": "palette"},
            {"COMPRESS": "DEFLATE", "OVERVIEW_RESAMPLING": "MODE"},
        )

    def write(self, row: int, probabilities: np.ndarray) -> None:
        """Write a row; see `ProbabilityWriter.write`. Of equal classes, the first one counts."""
        known = ~np.isnan(probabilities).any(axis=1)
        values = np.full(len(probabilities), NO_CLASS, np.uint8)
        values[known] = probabilities[known].argmax(axis=1)
        self.counts += np.bincount(values[known], minlength=len(self.classes))
        self.write_window(Window(0, row, len(values), 1), 1, values[None])

    def finish(self, tags: Mapping[str, str]) -> None:
        """Describe the classes and make the COG.

        Args:
            tags: Metadata of the file.
        """

        def describe(dataset: DatasetWriter) -> None:
            dataset.descriptions = ("most probable class",)
            dataset.update_tags(**tags)
            table = {value: (*colour, 255) for value, colour in enumerate(self.colours)}
            dataset.write_colormap(1, table | {NO_CLASS: (0, 0, 0, 0)})

        self.complete(describe)
        root = ElementTree.Element("PAMDataset")
        names = ElementTree.SubElement(
            ElementTree.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames"
        )
        for name in self.classes:
            ElementTree.SubElement(names, "Category").text = name
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        names_path(self.path).write_text(text + "\n", encoding="utf-8")


def names_path(path: Path) -> Path:
    """Path of the file that holds the class names of a map."""
    return path.with_name(f"{path.name}.aux.xml")
