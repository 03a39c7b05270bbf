"""Writing the result: windows into a scratch file, then a Cloud-Optimized GeoTIFF of the whole.

A COG keeps its overviews in front of the image, so it can only be written once all is known. The
scratch file is an uncompressed GeoTIFF on disk; GDAL's COG driver makes the rest in bounded memory.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from decametre.bands import ALL_BANDS
from decametre.errors import OutputError
from decametre.grid import Grid, Window
from decametre.io.raster import GDAL_OPTIONS
from decametre.radiometry import Radiometry

BLOCK = 512
COMPRESSIONS = ("deflate", "zstd")
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
        """Take in a window's pixels; those equal to `nodata` (or NaN) do not count."""
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
        """GDAL's `STATISTICS_*` metadata; empty without a pixel."""
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
    # The scratch file, and a COG whose pixels and overviews (one third) did not compress at all.
    return int(raw * (1 + 4 / 3)) + 1_000_000


class CogWriter:
    """Takes windows in any order and makes a COG of them; a context manager.

    Args:
        path: The COG. A scratch file stands beside it meanwhile.
        grid: The 10 m grid of the output.
        radiometry: Scale, offset and nodata of each band; also says which bands, in which order.
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
        self.path, self.grid, self.radiometry = path, grid, radiometry
        self.compression = compression
        self.scratch = path.with_suffix(".scratch.tif")
        own = next(iter(radiometry.values())).nodata
        self.nodata = np.nan if dtype == "float32" else own
        self.statistics = {name: BandStatistics() for name in radiometry}
        self._profile = {
            "driver": "GTiff",
            "width": grid.width,
            "height": grid.height,
            "count": len(radiometry),
            "dtype": dtype,
            "crs": grid.crs,
            "transform": rasterio.Affine(*grid.transform()),
            "nodata": self.nodata,
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "interleave": "band",
            "bigtiff": "IF_SAFER",
        }
        # Unlike decoding, compressing in GDAL's threads reports its errors.
        self._env = rasterio.Env(**{**GDAL_OPTIONS, "GDAL_NUM_THREADS": "ALL_CPUS"})

    @property
    def bands(self) -> Sequence[str]:
        """Band names in the order of the file."""
        return list(self.radiometry)

    def __enter__(self) -> Self:
        self._env.__enter__()
        try:
            self._dataset = rasterio.open(self.scratch, "w", **self._profile)
        except RasterioError as error:
            self._env.__exit__(None, None, None)
            raise self._failure(error) from error
        return self

    def write(self, window: Window, images: Mapping[str, np.ndarray]) -> None:
        """Write every band of a window, counted from the output's own first pixel."""
        at = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        for index, name in enumerate(self.bands, start=1):
            self.statistics[name].add(images[name], self.nodata)
            try:
                self._dataset.write(images[name], index, window=at)
            except RasterioError as error:
                raise self._failure(error) from error

    def finish(self, tags: Mapping[str, str]) -> None:
        """Describe the bands and make the COG.

        Args:
            tags: Metadata of the whole file.
        """
        options = {
            "driver": "COG",
            "COMPRESS": self.compression.upper(),
            "PREDICTOR": "YES",
            "BLOCKSIZE": BLOCK,
            "BIGTIFF": "IF_SAFER",
            "OVERVIEWS": "IGNORE_EXISTING",
            "OVERVIEW_RESAMPLING": "AVERAGE",
            "NUM_THREADS": "ALL_CPUS",
        }
        try:
            self._describe(tags)
            self._dataset.close()
            rasterio.shutil.copy(self.scratch, self.path, **options)
            self._check_complete()
        except RasterioError as error:
            raise self._failure(error) from error
        finally:
            self.scratch.unlink(missing_ok=True)

    def _check_complete(self) -> None:
        """Make sure that every block lies inside the file.

        libtiff tells nobody when the disk fills up while the COG driver writes.

        Raises:
            RasterioError: A block is missing or beyond the end of the file.
        """
        size = self.path.stat().st_size
        with rasterio.open(self.path) as cog:
            for level in (None, *range(len(cog.overviews(1)))):
                shrink = 1 if level is None else cog.overviews(1)[level]
                rows, cols = (math.ceil(side / shrink / BLOCK) for side in cog.shape)
                for block in (f"{col}_{row}" for row in range(rows) for col in range(cols)):
                    start, length = (
                        cog.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", bidx=1, ovr=level)
                        for what in ("OFFSET", "SIZE")
                    )
                    if start is None or int(start) + int(length) > size:
                        raise RasterioError(f"block {block} was not written")

    def _describe(self, tags: Mapping[str, str]) -> None:
        dataset, bands = self._dataset, self.bands
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

    def _failure(self, error: Exception) -> OutputError:
        folder = self.path.parent
        free = shutil.disk_usage(folder).free
        reason = "the disk is full" if free < 32_000_000 else str(error)
        return OutputError(f"cannot write {self.path.name}: {reason} ({free / 1e6:.0f} MB free)")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._dataset.close()
        self._env.__exit__(kind, error, trace)
