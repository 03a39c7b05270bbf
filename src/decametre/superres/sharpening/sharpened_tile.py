"""Reading results of `decametre sharpen`: twelve bands at 10 m, and their STAC item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, NotAProductError
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.radiometry import NODATA
from decametre.sentinel2.stac import read_item


@dataclass(frozen=True)
class SharpenedTile:
    """A completed result of `decametre sharpen` with all twelve bands in DN.

    Attributes:
        path: The GeoTIFF.
        product: Id of the sharpened product.
        model: The models' names, with the SHA-256 of their weights.
        grid: The 10 m grid.
        offsets: Radiometric offset in DN, by band.
    """

    path: str
    product: str
    model: str
    grid: Grid
    offsets: Mapping[str, int]


def open_sharpened(path: Path) -> SharpenedTile:
    """Open a sharpened tile; no pixel is read.

    Args:
        path: The GeoTIFF; its item `NAME.json` is in the same folder.

    Raises:
        NotAProductError: The file does not exist, is not complete, or is not a result of
            `decametre sharpen` with all bands in DN.
        CorruptDataError: The file is damaged.
    """
    item_path = path.with_suffix(".json")
    if not path.is_file():
        raise NotAProductError(f"{path}: no such file")
    if not item_path.is_file():
        raise NotAProductError(
            f"{path}: is no complete result of `decametre sharpen`, because {item_path.name} is "
            "missing; sharpen the product again"
        )
    quality: Mapping[str, Any] = read_item(str(item_path)).properties.get("decametre:quality", {})
    try:
        product = str(quality["product"]["id"])
        models = {name: str(card["checksum_sha256"]) for name, card in quality["models"].items()}
        offsets = {name: int(band["offset_dn"]) for name, band in quality["bands"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAProductError(
            f"{item_path}: has no quality card of decametre ({type(error).__name__}: {error}); "
            "give a result of `decametre sharpen`"
        ) from error
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path, driver="GTiff") as dataset:
            bands, dtype, nodata = dataset.descriptions, dataset.dtypes[0], dataset.nodata
            epsg = dataset.crs.to_epsg()
            grid = Grid(
                crs=f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(),
                left=dataset.transform.c,
                top=dataset.transform.f,
                width=dataset.width,
                height=dataset.height,
            )
    except RasterioError as error:
        raise CorruptDataError(f"{path}: cannot be opened ({error}); sharpen again") from error
    if bands != BAND_NAMES or dtype != "uint16" or nodata != NODATA:
        raise NotAProductError(
            f"{path}: contains {dtype} with nodata {nodata} of {' '.join(map(str, bands))}; "
            "sharpen with all twelve bands and --encoding dn"
        )
    model = ", ".join(f"{name} sha256:{checksum}" for name, checksum in sorted(models.items()))
    return SharpenedTile(str(path), product, model, grid, offsets)


class SharpenedRows:
    """Reads rows of a sharpened tile from north to south, every block once; a context manager.

    All bands of a pixel are in one block of the file. A row of blocks and the rows above it that
    are still needed are in memory: 12 x 632 x 10980 x 2 bytes for a full tile, 170 MB.

    Args:
        tile: The tile.
        first: The first column to read.
        stop: The column after the last.
        height: Number of rows that `read` returns.
        cache: GDAL's block cache in bytes, as for `BandReader`; at least one block.
    """

    def __init__(
        self, tile: SharpenedTile, first: int, stop: int, height: int, cache: int = 32 << 20
    ) -> None:
        self._options = {**GDAL_OPTIONS, "GDAL_CACHEMAX": cache}
        self._tile, self._first, self._stop, self._height = tile, first, stop, height

    def __enter__(self) -> Self:
        self._env = rasterio.Env(**self._options)
        self._env.__enter__()
        try:
            self._dataset = rasterio.open(self._tile.path, driver="GTiff")
        except RasterioError as error:
            self._env.__exit__(None, None, None)
            raise CorruptDataError(f"{self._tile.path}: cannot be opened ({error})") from error
        self._block: tuple[int, int] = self._dataset.block_shapes[0]
        rows = self._block[0] + self._height
        self._held = np.empty((len(BAND_NAMES), rows, self._stop - self._first), np.uint16)
        self._top = self._bottom = 0  # rows of the tile that are in memory: from top to bottom
        return self

    def read(self, row: int) -> np.ndarray:
        """Rows `row` to `row + height`, between the columns given at the start.

        Args:
            row: The first row, not above that of the previous call; `row + height` must not
                exceed the tile.

        Returns:
            uint16, (12, rows, columns); valid until the next call.

        Raises:
            CorruptDataError: The file cannot be decoded there.
        """
        kept = max(0, self._bottom - row)
        if kept:
            at = row - self._top
            self._held[:, :kept] = self._held[:, at : at + kept].copy()
        self._top = self._bottom = row
        self._bottom += kept
        while self._bottom < row + self._height:
            self._load()
        return self._held[:, : self._height]

    def _load(self) -> None:
        """Read the rest of a row of blocks into memory, block by block."""
        rows, columns = self._block
        stop = min((self._bottom // rows + 1) * rows, self._tile.grid.height)
        into = self._held[:, self._bottom - self._top : stop - self._top]
        left = self._first // columns * columns
        for col in range(left, self._stop, columns):
            begin, end = max(col, self._first), min(col + columns, self._stop)
            window = rasterio.windows.Window(begin, self._bottom, end - begin, stop - self._bottom)
            try:
                into[:, :, begin - self._first : end - self._first] = self._dataset.read(
                    window=window
                )
            except RasterioError as error:
                raise CorruptDataError(
                    f"{self._tile.path}: cannot be read at "
                    f"{Window(begin, self._bottom, end - begin, stop - self._bottom)} "
                    f"({error.__cause__ or error}); sharpen again"
                ) from error
        self._bottom = stop

    def __exit__(self, *exception: object) -> None:
        self._dataset.close()
        self._env.__exit__(*exception)
