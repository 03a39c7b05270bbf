"""Writing the result of sharpening: bands with scale, offset and statistics as a COG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter

from decametre.io.cog import CogFile
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.radiometry import Radiometry

NATURAL_COLOUR = {"B04": ColorInterp.red, "B03": ColorInterp.green, "B02": ColorInterp.blue}


@dataclass
class BandStatistics:
    """Running statistics of one band's pixels with data."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf
    pixels: int = 0

    def add(self, image: np.ndarray, nodata: float) -> None:
        """Add the pixels of a window, except those equal to `nodata` (or NaN)."""
        self.pixels += image.size
        gaps = np.isnan(image) if np.isnan(nodata) else image == nodata
        values = (image[~gaps] if gaps.any() else image.ravel()).astype(np.float64)
        if values.size:
            self.count += values.size
            self.total += float(values.sum())
            self.squares += float(np.dot(values, values))
            self.minimum = min(self.minimum, float(values.min()))
            self.maximum = max(self.maximum, float(values.max()))

    @property
    def tags(self) -> dict[str, str]:
        """GDAL's `STATISTICS_*` metadata; empty if no pixel has data."""
        if not self.count:
            return {}
        mean = self.total / self.count
        variance = max(0.0, self.squares / self.count - mean**2)
        return {
            "STATISTICS_MINIMUM": f"{self.minimum:.10g}",
            "STATISTICS_MAXIMUM": f"{self.maximum:.10g}",
            "STATISTICS_MEAN": f"{mean:.10g}",
            "STATISTICS_STDDEV": f"{variance**0.5:.10g}",
            "STATISTICS_VALID_PERCENT": f"{100 * self.count / self.pixels:.4g}",
        }


def bytes_needed(grid: Grid, bands: int, dtype: str) -> int:
    """Upper bound of the disk space for scratch file, overviews and COG."""
    raw = grid.width * grid.height * bands * np.dtype(dtype).itemsize
    # The scratch file, and a COG with overviews (one third more pixels), both uncompressed.
    return int(raw * (1 + 4 / 3)) + 1_000_000


class CogWriter(CogFile):
    """Writes windows, in any order, to a COG; a context manager.

    Args:
        path: The COG. A scratch file is written to the same folder.
        grid: The 10 m grid of the output.
        radiometry: Scale, offset and nodata of each output band, in the order of the file.
        dtype: `uint16` for DN, `float32` for reflectance.
        compression: `deflate` or `zstd`.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        radiometry: Mapping[str, Radiometry],
        dtype: str = "uint16",
        compression: str = "deflate",
    ) -> None:
        self.radiometry = radiometry
        own = next(iter(radiometry.values())).nodata
        self.nodata = np.nan if dtype == "float32" else own
        self.statistics = {name: BandStatistics() for name in radiometry}
        profile = {
            "width": grid.width,
            "height": grid.height,
            "count": len(radiometry),
            "dtype": dtype,
            "crs": grid.crs,
            "transform": rasterio.Affine(*grid.transform()),
            "nodata": self.nodata,
        }
        options = {
            "COMPRESS": compression.upper(),
            "PREDICTOR": "YES",
            "OVERVIEW_RESAMPLING": "AVERAGE",
        }
        super().__init__(path, profile, options)

    @property
    def bands(self) -> Sequence[str]:
        """Band names in the order of the file."""
        return list(self.radiometry)

    def write(self, window: Window, images: Mapping[str, np.ndarray]) -> None:
        """Write all bands of a window, which is relative to the first pixel of the output."""
        for index, name in enumerate(self.bands, start=1):
            self.statistics[name].add(images[name], self.nodata)
            self.write_window(window, index, images[name])

    def finish(self, tags: Mapping[str, str]) -> None:
        """Write the metadata and convert the scratch file to a COG.

        Args:
            tags: Metadata of the file.
        """
        self.complete(lambda dataset: self._describe(dataset, tags))

    def _describe(self, dataset: DatasetWriter, tags: Mapping[str, str]) -> None:
        bands = self.bands
        dataset.descriptions = bands
        dataset.update_tags(**tags)
        if dataset.dtypes[0] == "uint16":
            dataset.scales = [self.radiometry[name].scale for name in bands]
            dataset.offsets = [self.radiometry[name].offset for name in bands]
        dataset.colorinterp = [NATURAL_COLOUR.get(name, ColorInterp.undefined) for name in bands]
        for index, name in enumerate(bands, start=1):
            band = ALL_BANDS[name]
            dataset.update_tags(index, **self.statistics[name].tags)
            dataset.update_tags(
                index,
                ns="IMAGERY",
                CENTRAL_WAVELENGTH_UM=band.wavelength,
                FWHM_UM=band.bandwidth,
            )


class SplitWriter:
    """Writes each band to its own COG; a context manager.

    Args:
        paths: The COG of each band.
        grid: See `CogWriter`, also for the following.
        radiometry: Radiometry of each band.
        dtype: Data type.
        compression: Compression.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        grid: Grid,
        radiometry: Mapping[str, Radiometry],
        dtype: str = "uint16",
        compression: str = "deflate",
    ) -> None:
        self._writers = {
            name: CogWriter(path, grid, {name: radiometry[name]}, dtype, compression)
            for name, path in paths.items()
        }
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for writer in self._writers.values():
            self._open.enter_context(writer)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.__exit__(*exception)

    @property
    def statistics(self) -> Mapping[str, BandStatistics]:
        """Statistics of the bands that were written so far."""
        return {name: writer.statistics[name] for name, writer in self._writers.items()}

    def write(self, window: Window, images: Mapping[str, np.ndarray]) -> None:
        """See `CogWriter.write`."""
        for name, writer in self._writers.items():
            writer.write(window, {name: images[name]})

    def finish(self, tags: Mapping[str, str]) -> None:
        """See `CogWriter.finish`."""
        for writer in self._writers.values():
            writer.finish(tags)
