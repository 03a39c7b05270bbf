"""Reading band files with GDAL: their grids, and windows of their pixels."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import rasterio
import rasterio.windows
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from decametre.errors import CorruptDataError, GridError, NotAProductError
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.gdal_settings import (
    GDAL_OPTIONS,
    driver_of,
    foreign_variables,
    is_transient,
    thread_count,
)
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.integrity import check_file
from decametre.sentinel2.product import BandFile, BandImage, Product

MAX_EDGE = 1 << 17
"""Most 10 m pixels along an edge of a product; a tile has 10,980."""

MAX_BLOCK_PIXELS = 1 << 27
"""Most pixels of a block, which is decoded at once; a complete tile has 120,560,400."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BandGrid:
    """The grid of a band file: CRS or None, affine coefficients (a, b, c, d, e, f), size."""

    crs: str | None
    transform: tuple[float, ...]
    width: int
    height: int


def read_grid(name: str, path: str, dtype: str = "uint16") -> BandGrid:
    """Open a band file and read its grid; no pixels are read.

    Args:
        name: Name of the band, for messages.
        path: GDAL's name of the file.
        dtype: Data type that the pixels must have.

    Raises:
        CorruptDataError: GDAL cannot open the file, or it does not contain DN.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver=driver_of(path)) as dataset:
            if dataset.dtypes != (dtype,):
                raise CorruptDataError(
                    f"band {name}: {path} contains {dataset.count} x {dataset.dtypes[0]}, expected "
                    f"one band of {dtype} DN as published"
                )
            if math.prod(dataset.block_shapes[0]) > MAX_BLOCK_PIXELS:
                raise CorruptDataError(
                    f"band {name}: {path} has blocks of {dataset.block_shapes[0]} pixels, more "
                    f"than {MAX_BLOCK_PIXELS:,}; write it with smaller blocks"
                )
            return BandGrid(
                crs=_crs_text(dataset.crs) if dataset.crs else None,
                transform=tuple(dataset.transform)[:6],
                width=dataset.width,
                height=dataset.height,
            )
    except RasterioError as error:
        raise CorruptDataError(
            f"band {name}: cannot open {path} ({error}); {_cause(path)}",
            transient=is_transient(path, str(error)),
        ) from error


def stated_crs_text(source: str, crs: str | None) -> str:
    """A CRS in metadata as a grid has it: `EPSG:32631`, or WKT.

    Raises:
        GridError: It is unknown.
    """
    try:
        return _crs_text(CRS.from_user_input(crs))
    except CRSError as error:
        raise GridError(f"{source}: states CRS {crs!r}, which is unknown ({error})") from error


def _crs_text(crs: CRS) -> str:
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())


def _cause(path: str) -> str:
    """Why GDAL cannot open a file, and the remedy."""
    local = not path.startswith("/vsi")
    if local and not os.access(path, os.R_OK):
        return "ask the owner for permission to read it"
    with rasterio.Env() as env:
        if driver_of(path) not in env.drivers():
            return f"GDAL has no driver {driver_of(path)}{foreign_variables()}"
    remote = ", or its server does not support HTTP ranges"
    return "the file is damaged or not an image" + (remote if "/vsicurl" in path else "")


def common_grid(source: str, grids: Mapping[str, BandGrid], stated_crs: str | None = None) -> Grid:
    """The 10 m grid that the native grids of all bands share.

    Args:
        source: The product, for messages.
        grids: Native grids by band name.
        stated_crs: CRS in the product's metadata, for files that have none.

    Raises:
        GridError: A band has another CRS, origin, pixel size or extent than the others.
        CorruptDataError: A file has no CRS, and none is stated.
        NotAProductError: There are no bands.
    """
    if not grids:
        raise NotAProductError(f"{source}: no Sentinel-2 band found")
    names = sorted(grids, key=lambda name: ALL_BANDS[name].gsd)
    without_crs = [name for name in names if grids[name].crs is None]
    if without_crs and not stated_crs:
        raise CorruptDataError(
            f"{source}: the files of {', '.join(without_crs)} have no CRS{foreign_variables()}; "
            "download them again, or give a STAC item that states it as proj:code"
        )
    if without_crs:
        files = ", ".join(without_crs)
        log.warning("the files of %s have no CRS; %s is used, as stated", files, stated_crs)
    crs = {name: grid.crs or stated_crs_text(source, stated_crs) for name, grid in grids.items()}
    first = grids[names[0]]
    factor = ALL_BANDS[names[0]].gsd // FINEST_GSD
    grid = Grid(
        crs=crs[names[0]],
        left=first.transform[2],
        top=first.transform[5],
        width=first.width * factor,
        height=first.height * factor,
    )
    if max(grid.width, grid.height) > MAX_EDGE or min(grid.width, grid.height) < 1:
        raise GridError(
            f"{source}: {grid.width} x {grid.height} pixels at 10 m, expected 1 to {MAX_EDGE}; "
            "give a tile or a part of one"
        )
    for name in names:
        gsd, found = ALL_BANDS[name].gsd, grids[name]
        where = f"{source}: band {name}"
        if crs[name] != grid.crs:
            raise GridError(f"{where} is in {crs[name]}, but {names[0]} is in {grid.crs}")
        if not np.allclose(found.transform, grid.transform(gsd), rtol=0, atol=1e-3):
            raise GridError(
                f"{where} has transform {found.transform}, expected {grid.transform(gsd)} from "
                f"{names[0]}; give every band on its native {gsd} m grid with one common origin"
            )
        if (found.width * gsd, found.height * gsd) != (grid.width * 10, grid.height * 10):
            raise GridError(
                f"{where} covers {found.width * gsd} x {found.height * gsd} m, but {names[0]} "
                f"covers {grid.width * 10} x {grid.height * 10} m; crop all bands to one multiple "
                "of 60 m"
            )
    return grid


class WindowReader(Protocol):
    """A reader of the DN of several bands in a window."""

    def read_all(self, names: Iterable[str], window: Window) -> dict[str, np.ndarray]:
        """See `BandReader.read_all`."""


class FileImage:
    """The pixels of a band file; a context manager.

    Args:
        file: The file.

    Raises:
        CorruptDataError: GDAL cannot open it.
    """

    def __init__(self, file: BandFile) -> None:
        self._file = file
        try:
            self._dataset = rasterio.open(file.path, driver=driver_of(file.path))
        except RasterioError as error:
            raise CorruptDataError(
                f"band {file.band.name}: cannot open {file.path} ({error})",
                transient=is_transient(file.path, str(error)),
            ) from error

    @property
    def block_rows(self) -> int:
        """Rows of the file's blocks (JPEG 2000 tiles)."""
        return int(self._dataset.block_shapes[0][0])

    def read(self, window: Window) -> np.ndarray:
        """The DN in a window in native pixels.

        Raises:
            CorruptDataError: The file is damaged.
        """
        at = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        name, path = self._file.band.name, self._file.path
        try:
            check_file(path, self._file.checksum)
            return self._dataset.read(1, window=at)
        except CorruptDataError as error:
            raise CorruptDataError(f"band {name}: {error}") from error
        except RasterioError as error:
            raise CorruptDataError(
                f"band {name}: cannot read {path} at pixels {window} "
                f"({error.__cause__ or error}); the file is truncated or damaged, download it "
                "again",
                transient=is_transient(path),
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._dataset.close()


def read_overview(file: BandFile, factor: int) -> np.ndarray | None:
    """The DN of a complete band, reduced by a factor.

    Args:
        file: The band.
        factor: A power of 2; 1 for all pixels.

    Returns:
        (rows, columns), rounded down; None if the file has no overviews, so that all its blocks
        would be decoded.

    Raises:
        CorruptDataError: The file is damaged.
    """
    if file.image is not None:
        return None
    try:
        with (
            rasterio.Env(**GDAL_OPTIONS),
            rasterio.open(file.path, driver=driver_of(file.path)) as dataset,
        ):
            if factor > 1 and factor not in dataset.overviews(1):
                return None
            shape = dataset.height // factor, dataset.width // factor
            image: np.ndarray = dataset.read(1, out_shape=shape)
            return image
    except RasterioError as error:
        raise CorruptDataError(
            f"band {file.band.name}: cannot read {file.path} ({error.__cause__ or error})"
        ) from error


class BandReader:
    """Reads windows of several bands of a product in parallel; a context manager.

    A reader may be used by one thread only.

    Args:
        product: The product.
        names: The bands that will be read.
        cache: Size in bytes of GDAL's cache of decoded blocks; small if blocks are read once.

    Raises:
        MissingBandError: The product lacks one of the bands.
    """

    def __init__(
        self, product: Product, names: Iterable[str], cache: int = GDAL_OPTIONS["GDAL_CACHEMAX"]
    ) -> None:
        self._files = {file.band.name: file for file in product.band_files(names)}
        self._stack = ExitStack()
        self._images: dict[str, BandImage] = {}
        self._options = {**GDAL_OPTIONS, "GDAL_CACHEMAX": cache}
        # GDAL's settings apply to one thread, so every thread of the pool sets them.
        self._pool = ThreadPoolExecutor(
            min(len(self._files) or 1, thread_count()),
            initializer=lambda: rasterio.Env(**self._options).__enter__(),
        )

    def __enter__(self) -> Self:
        self._stack.enter_context(rasterio.Env(**self._options))
        try:
            for name, file in self._files.items():
                self._images[name] = file.image or self._stack.enter_context(FileImage(file))
        except CorruptDataError:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        self._stack.close()

    def map(self, read: Callable[[str], np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
        """Read several bands in parallel, each with `read`."""
        names = list(names)
        return dict(zip(names, self._pool.map(read, names), strict=True))

    def read_all(self, names: Iterable[str], window: Window) -> dict[str, np.ndarray]:
        """The DN of several bands in a window; see `read`."""
        return self.map(lambda name: self.read(name, window), names)

    def read(self, name: str, window: Window) -> np.ndarray:
        """The DN of one band in a window.

        Args:
            name: The band.
            window: In 10 m pixels, inside the product, a multiple of the band's factor.

        Returns:
            uint16, (rows, columns) on the band's native grid.

        Raises:
            CorruptDataError: The file is damaged.
        """
        return self.read_native(name, window.coarsened(ALL_BANDS[name].gsd // FINEST_GSD))

    def read_native(self, name: str, window: Window) -> np.ndarray:
        """Like `read`, with a window in native pixels of the band."""
        return self._images[name].read(window)

    def block_rows(self, name: str) -> int:
        """Rows of a band's blocks, in native pixels."""
        return self._images[name].block_rows

    def dtype(self, name: str) -> str:
        """Data type of a band's pixels."""
        return self._files[name].radiometry.dtype


class StripReader:
    """Reads windows in reading order, and decodes every block of a file once.

    Windows with margins overlap, and a JPEG 2000 tile covers many of them. GDAL's block cache is
    too small to keep blocks until the next row of windows. This reader keeps the rows that later
    windows need, over the full width of the extent: about 350 MB for a full tile and usual windows.

    Args:
        reader: Open on the product.
        extent: Union of all windows, in 10 m pixels, a multiple of 6.
    """

    def __init__(self, reader: BandReader, extent: Window) -> None:
        self._reader, self._extent = reader, extent
        self._strips: dict[str, tuple[int, np.ndarray]] = {}

    def read_all(self, names: Iterable[str], window: Window) -> dict[str, np.ndarray]:
        """Like `BandReader.read_all`, for windows inside the extent; never modify the results."""
        return self._reader.map(lambda name: self.read(name, window), names)

    def read(self, name: str, window: Window) -> np.ndarray:
        """Like `BandReader.read`, for windows inside the extent; never modify the result."""
        factor = ALL_BANDS[name].gsd // FINEST_GSD
        at, extent = window.coarsened(factor), self._extent.coarsened(factor)
        nothing = at.row, np.empty((0, extent.width), self._reader.dtype(name))
        top, strip = self._strips.get(name, nothing)
        if at.row < top:  # an earlier row again: restart
            top, strip = at.row, strip[:0]
        strip, top = strip[at.row - top :], max(at.row, top)
        if at.bottom > top + len(strip):
            start, step = top + len(strip), self._reader.block_rows(name)
            stop = min(-(-at.bottom // step) * step, extent.bottom)
            rows = Window(extent.col, start, extent.width, stop - start)
            strip = np.concatenate([strip, self._reader.read_native(name, rows)])
        self._strips[name] = top, strip
        left = at.col - extent.col
        return strip[: at.height, left : left + at.width]
