"""Reading band files through GDAL: what grid they have, and windows of their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.bands import ALL_BANDS, FINEST_GSD
from decametre.errors import CorruptDataError, GridError, NotAProductError
from decametre.grid import Grid, Window
from decametre.io.product import Product

GDAL_OPTIONS = {
    # A STAC asset's neighbours are never needed; listing its folder costs requests.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    # Seconds; without, a silent server holds the job for ever.
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_TIMEOUT": 300,
    "VSI_CACHE": True,
    # JPEG 2000 tiles of one read are decoded side by side.
    "GDAL_NUM_THREADS": "ALL_CPUS",
    # GDAL's default of 5 % of the machine's memory is unbounded on large machines.
    "GDAL_CACHEMAX": 384,
}
"""GDAL settings for every read and write, with sizes in MB."""


@dataclass(frozen=True)
class BandGrid:
    """The grid that a band file states: CRS, affine coefficients (a, b, c, d, e, f), size."""

    crs: str
    transform: tuple[float, ...]
    width: int
    height: int


def gdal_path(href: str) -> str:
    """A path or URL as GDAL opens it: `https://` through `/vsicurl/`, `s3://` through `/vsis3/`."""
    for scheme, prefix in (("s3://", "/vsis3/"), ("gs://", "/vsigs/"), ("file://", "")):
        if href.startswith(scheme):
            return prefix + href.removeprefix(scheme)
    return f"/vsicurl/{href}" if href.startswith(("http://", "https://")) else href


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
            epsg = dataset.crs.to_epsg()
            return BandGrid(
                crs=f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(),
                transform=tuple(dataset.transform)[:6],
                width=dataset.width,
                height=dataset.height,
            )
    except RasterioError as error:
        raise CorruptDataError(
            f"band {name}: cannot open {path} ({error}); the file is damaged or not an image"
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


class BandReader:
    """Reads windows of several bands of a product; a context manager.

    A reader belongs to one thread, as GDAL's datasets do.

    Args:
        product: The product.
        names: The bands that will be read.

    Raises:
        MissingBandError: The product lacks one of the bands.
    """

    def __init__(self, product: Product, names: Iterable[str]) -> None:
        self._files = {file.band.name: file for file in product.band_files(names)}
        self._stack = ExitStack()
        self._datasets: dict[str, rasterio.DatasetReader] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(rasterio.Env(**GDAL_OPTIONS))
        for name, file in self._files.items():
            try:
                self._datasets[name] = self._stack.enter_context(
                    rasterio.open(file.path, driver=driver_of(file.path))
                )
            except RasterioError as error:
                self._stack.close()
                raise CorruptDataError(f"band {name}: cannot open {file.path} ({error})") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

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
        file = self._files[name]
        native = window.coarsened(file.band.gsd // FINEST_GSD)
        at = rasterio.windows.Window(native.col, native.row, native.width, native.height)
        try:
            return self._datasets[name].read(1, window=at)
        except RasterioError as error:
            raise CorruptDataError(
                f"band {name}: cannot read {file.path} at 10 m window {window} ({error}); the file "
                "is truncated or corrupt, download it again"
            ) from error
