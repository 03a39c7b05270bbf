"""Reading back what `decametre sharpen` wrote: twelve bands at 10 m, with the item beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
import rasterio.windows
from rasterio.errors import RasterioError

from decametre.errors import CorruptDataError, NotAProductError
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.radiometry import NODATA
from decametre.sentinel2.raster import GDAL_OPTIONS
from decametre.sentinel2.stac import read_item


@dataclass(frozen=True)
class SharpenedTile:
    """A finished result of `decametre sharpen`, of all twelve bands in DN.

    Attributes:
        path: The GeoTIFF.
        product: Id of the product that it was made from.
        model: What sharpened it: names of models with the SHA-256 of their weights.
        grid: Of 10 m.
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
        path: The GeoTIFF; its item `NAME.json` stands beside it.

    Raises:
        NotAProductError: It is not there, not finished, or none that was made by
            `decametre sharpen` with all bands in DN.
        CorruptDataError: The file is damaged.
    """
    item_path = path.with_suffix(".json")
    if not path.is_file():
        raise NotAProductError(f"{path}: no such file")
    if not item_path.is_file():
        raise NotAProductError(
            f"{path}: no {item_path.name} beside it, so it is no finished result of "
            "`decametre sharpen`; sharpen the product again"
        )
    quality: Mapping[str, Any] = read_item(str(item_path)).properties.get("decametre:quality", {})
    try:
        product = str(quality["product"]["id"])
        models = {name: str(card["checksum_sha256"]) for name, card in quality["models"].items()}
        offsets = {name: int(band["offset_dn"]) for name, band in quality["bands"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAProductError(
            f"{item_path}: has no quality card of decametre ({type(error).__name__}: {error}); "
            "give the result of `decametre sharpen`"
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
            f"{path}: holds {dtype} with nodata {nodata} of {' '.join(map(str, bands))}; sharpen "
            "with all twelve bands and --encoding dn"
        )
    model = ", ".join(f"{name} sha256:{checksum}" for name, checksum in sorted(models.items()))
    return SharpenedTile(str(path), product, model, grid, offsets)


class SharpenedRows:
    """Reads rows of a sharpened tile from north to south, every block once; a context manager.

    All bands of a pixel stand in one block of the file. What is held is a row of blocks and the
    rows above it that are still needed: 12 x 632 x 10980 x 2 bytes for a full tile, 170 MB.

    Args:
        tile: The tile.
        first: The first column that will be asked for.
        stop: The one after the last.
        height: How many rows are asked for at once.
        cache: As of `BandReader`; at least a block.
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
        self._top = self._bottom = 0  # rows of the tile that are held: from top to bottom
        return self

    def read(self, row: int) -> np.ndarray:
        """Rows `row` to `row + height`, between the columns given at the start.

        Args:
            row: At least that of the call before, plus a whole `height` inside the tile.

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
        """Hold the rest of a row of blocks, a block at a time."""
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._dataset.close()
        self._env.__exit__(kind, error, trace)
