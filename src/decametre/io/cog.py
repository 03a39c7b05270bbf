"""Writing a Cloud-Optimized GeoTIFF (COG) by windows.

The overviews of a COG precede the image, so a COG can be written only when the image is complete.
Windows are written to a scratch file, an uncompressed GeoTIFF, which GDAL's COG driver converts in
bounded memory.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from decametre.errors import OutputError
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS, thread_count
from decametre.sentinel2.grid import Window

BLOCK = 512


class CogFile:
    """Writes windows in any order and makes a COG of them; a context manager.

    Args:
        path: The COG. The scratch file is in the same folder.
        profile: Profile for rasterio: size, bands, data type, grid, nodata.
        options: Options of GDAL's COG driver in addition to the common ones.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """

    def __init__(self, path: Path, profile: Mapping[str, Any], options: Mapping[str, str]) -> None:
        self.path = path
        self.scratch = path.with_suffix(".scratch.tif")
        self._profile = {
            "driver": "GTiff",
            "tiled": True,
            "blockxsize": BLOCK,
            "blockysize": BLOCK,
            "interleave": "band",
            "bigtiff": "IF_SAFER",
            **profile,
        }
        self._options = {
            "driver": "COG",
            "BLOCKSIZE": BLOCK,
            "BIGTIFF": "IF_SAFER",
            "OVERVIEWS": "IGNORE_EXISTING",
            "NUM_THREADS": thread_count(),
            **options,
        }
        # GDAL reports errors of its compressing threads, unlike those of its decoding threads.
        self._env = rasterio.Env(**{**GDAL_OPTIONS, "GDAL_NUM_THREADS": thread_count()})

    def __enter__(self) -> Self:
        self._env.__enter__()
        try:
            self._dataset = rasterio.open(self.scratch, "w", **self._profile)
        except RasterioError as error:
            self._env.__exit__(None, None, None)
            raise self._failure(error) from error
        return self

    def write_window(self, window: Window, band: int, image: np.ndarray) -> None:
        """Write one band of a window.

        Args:
            window: In pixels of the file.
            band: Number of the band, from 1.
            image: (rows, columns).
        """
        at = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            self._dataset.write(image, band, window=at)
        except RasterioError as error:
            raise self._failure(error) from error

    def complete(self, describe: Callable[[DatasetWriter], None]) -> None:
        """Make the COG.

        Args:
            describe: Sets tags and descriptions of the file and its bands.
        """
        try:
            describe(self._dataset)
            self._dataset.close()
            rasterio.shutil.copy(self.scratch, self.path, **self._options)
            self._check_complete()
        except RasterioError as error:
            raise self._failure(error) from error
        finally:
            self.scratch.unlink(missing_ok=True)

    def _check_complete(self) -> None:
        """Check that every block lies inside the file.

        libtiff reports no error if the disk is full while the COG driver writes.

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

    def _failure(self, error: Exception) -> OutputError:
        folder = self.path.parent
        free = shutil.disk_usage(folder).free
        reason = "the disk is full" if free < 32_000_000 else str(error)
        return OutputError(f"cannot write {self.path.name}: {reason} ({free / 1e6:.0f} MB free)")

    def __exit__(self, *exception: object) -> None:
        self._dataset.close()
        self._env.__exit__(*exception)
