"""Reading band files through GDAL: what grid they have, and windows of their pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, GridError, NotAProductError
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.product import Product

GDAL_OPTIONS: Mapping[str, Any] = {
    # A STAC asset's neighbours are never needed; listing its folder costs requests.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    # Seconds; without, a silent server holds the job for ever.
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_TIMEOUT": 300,
    # With more, GDAL decodes JPEG 2000 tiles in threads whose errors never arrive: a truncated file
    # reads as garbage. Bands are read side by side in threads of our own instead.
    "GDAL_NUM_THREADS": 1,
    # Bytes. GDAL's default of 5 % of the machine's memory is unbounded on large machines.
    "GDAL_CACHEMAX": 256 << 20,
}
"""GDAL settings for every read and write."""


def thread_count() -> int:
    """Number of threads that decode or compress in parallel.

    It is the number in the environment variable `GDAL_NUM_THREADS`, which processes that share a
    machine can set. By default it is the number of available CPU cores.
    """
    stated = os.environ.get("GDAL_NUM_THREADS", "")
    return max(1, int(stated)) if stated.isdigit() else available_cores()


def available_cores() -> int:
    """Number of CPU cores that this process may use; containers and schedulers restrict them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class BandGrid:
    """The grid that a band file states: CRS, affine coefficients (a, b, c, d, e, f), size."""

    crs: str
    transform: tuple[float, ...]
    width: int
    height: int


def driver_of(path: str) -> str:
    """The one GDAL driver that a band file is opened with: JPEG 2000 by its name, else GeoTIFF.

    GDAL left to itself knows a virtual raster by its content, and one in a stranger's product could
    make it read any file or host.
    """
    return "JP2OpenJPEG" if ".jp2" in path.lower() else "GTiff"


def read_grid(name: str, path: str) -> BandGrid:
    """Open a band file and read its grid; no pixel is read.

    Args:
        name: The band, for the message.
        path: What GDAL opens.

    Raises:
        CorruptDataError: GDAL cannot open the file, or it has no georeference.
    """
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver=driver_of(path)) as dataset:
            if dataset.crs is None:
                raise CorruptDataError(f"band {name}: {path} has no georeference")
            if dataset.dtypes != ("uint16",):
                raise CorruptDataError(
                    f"band {name}: {path} holds {dataset.count} x {dataset.dtypes[0]}, expected "
                    "one band of uint16 DN as the agency publishes it"
                )
            epsg = dataset.crs.to_epsg()
            return BandGrid(
                crs=f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(),
                transform=tuple(dataset.transform)[:6],
                width=dataset.width,
                height=dataset.height,
            )
    except RasterioError as error:
        remote = ", or its server cannot send parts of it (HTTP ranges)"
        raise CorruptDataError(
            f"band {name}: cannot open {path} ({error}); the file is damaged or not an image"
            + (remote if path.startswith("/vsicurl") else "")
        ) from error


def common_grid(source: str, grids: Mapping[str, BandGrid]) -> Grid:
    """The 10 m grid that the native grids of all bands share.

    Args:
        source: The product, for messages.
        grids: The grid of each band by band name; at least one.

    Raises:
        GridError: A band has another CRS, origin, pixel size or extent than the others.
        NotAProductError: There is no band at all.
    """
    if not grids:
        raise NotAProductError(f"{source}: no Sentinel-2 band found")
    names = sorted(grids, key=lambda name: ALL_BANDS[name].gsd)
    first = grids[names[0]]
    factor = ALL_BANDS[names[0]].gsd // FINEST_GSD
    grid = Grid(
        crs=first.crs,
        left=first.transform[2],
        top=first.transform[5],
        width=first.width * factor,
        height=first.height * factor,
    )
    for name in names:
        gsd, found = ALL_BANDS[name].gsd, grids[name]
        where = f"{source}: band {name}"
        if found.crs != grid.crs:
            raise GridError(f"{where} is in {found.crs}, but {names[0]} is in {grid.crs}")
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
    """Whatever reads the DN of several bands in a window."""

    def read_all(self, names: Iterable[str], window: Window) -> dict[str, np.ndarray]:
        """See `BandReader.read_all`."""


class BandReader:
    """Reads windows of several bands of a product, side by side; a context manager.

    A reader belongs to one thread. Each band's dataset is used by one thread at a time.

    Args:
        product: The product.
        names: The bands that will be read.
        cache: Bytes in which GDAL keeps decoded blocks. Who reads every block once needs few.

    Raises:
        MissingBandError: The product lacks one of the bands.
    """

    def __init__(
        self, product: Product, names: Iterable[str], cache: int = GDAL_OPTIONS["GDAL_CACHEMAX"]
    ) -> None:
        self._files = {file.band.name: file for file in product.band_files(names)}
        self._stack = ExitStack()
        self._datasets: dict[str, rasterio.DatasetReader] = {}
        self._options = {**GDAL_OPTIONS, "GDAL_CACHEMAX": cache}
        # GDAL's settings hold for a thread, so every thread of the pool makes them anew.
        self._pool = ThreadPoolExecutor(
            min(len(self._files) or 1, thread_count()),
            initializer=lambda: rasterio.Env(**self._options).__enter__(),
        )

    def __enter__(self) -> Self:
        self._stack.enter_context(rasterio.Env(**self._options))
        for name, file in self._files.items():
            try:
                self._datasets[name] = self._stack.enter_context(
                    rasterio.open(file.path, driver=driver_of(file.path))
                )
            except RasterioError as error:
                self._stack.close()
                raise CorruptDataError(f"band {name}: cannot open {file.path} ({error})") from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        self._stack.close()

    def map(self, read: Callable[[str], np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
        """Read several bands side by side, each by `read`."""
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
            CorruptDataError: The file cannot be decoded there.
        """
        return self.read_native(name, window.coarsened(ALL_BANDS[name].gsd // FINEST_GSD))

    def read_native(self, name: str, window: Window) -> np.ndarray:
        """Like `read`, with a window in the band's own pixels."""
        at = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            return self._datasets[name].read(1, window=at)
        except RasterioError as error:
            raise CorruptDataError(
                f"band {name}: cannot read {self._files[name].path} at pixels {window} "
                f"({error.__cause__ or error}); the file is truncated or corrupt, download it again"
            ) from error

    def block_rows(self, name: str) -> int:
        """Rows of one band's blocks (JPEG 2000 tiles), in its own pixels."""
        return int(self._datasets[name].block_shapes[0][0])


class StripReader:
    """Reads windows in reading order, and decodes every block of a file once.

    Windows with margins overlap, and a JPEG 2000 tile lies under many of them. GDAL's block cache,
    shared with what is written meanwhile, would have lost it by the time that the next row of
    windows comes. This reader keeps the rows that later windows can still ask for, over the full
    width of the extent: some 350 MB for a full tile and usual windows.

    Args:
        reader: Open on the product.
        extent: What all windows together cover, in 10 m pixels, a multiple of 6.
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
        top, strip = self._strips.get(name, (at.row, np.empty((0, extent.width), np.uint16)))
        if at.row < top:  # an earlier row again: start anew
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
