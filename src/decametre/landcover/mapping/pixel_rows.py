"""Read the pixels of rows of patches, from north to south: as measured, or sharpened.

The pixels are DN as in a store of patches, so that a patch gets the same class as the one that
`decametre patches extract` would cut there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decametre.errors import GridError
from decametre.landcover.mapping.geojson import Box
from decametre.landcover.mapping.geotiff import MapGrid
from decametre.landcover.patches.images import Dn
from decametre.landcover.patches.patch import PATCH_METRES, PATCH_PIXELS, POSITION_STEP
from decametre.options import DEFAULT_TILE
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader, StripReader
from decametre.superres.sharpening.pipeline import sharpen_windows
from decametre.superres.sharpening.sharpened_tile import SharpenedRows, SharpenedTile
from decametre.superres.sharpening.sharpener import Sharpener

CACHE = 32 << 20
"""Bytes of GDAL's block cache: every block is read once."""

Planes = Mapping[str, np.ndarray]
"""uint16 DN, (rows, columns), of each band in a row of patches, each on its own grid."""


def check_stride(stride: int) -> None:
    """Check a stride.

    Args:
        stride: Metres from one patch to the next.

    Raises:
        GridError: It is not a multiple of 60 m, or is more than a patch.
    """
    if stride % POSITION_STEP or not 0 < stride <= PATCH_METRES:
        raise GridError(
            f"stride {stride} m: give a multiple of {POSITION_STEP} m, at most {PATCH_METRES} m "
            "(the edge of a patch)"
        )


@dataclass(frozen=True)
class PatchGrid:
    """A regular grid of patches, counted from the north-western corner of a window.

    Attributes:
        window: In 10 m pixels of the product, a multiple of 6.
        stride: Metres from one patch to the next, a multiple of 60.

    Raises:
        GridError: The stride is invalid, or the window is smaller than a patch.
    """

    window: Window
    stride: int

    def __post_init__(self) -> None:
        check_stride(self.stride)
        if min(self.window.width, self.window.height) < PATCH_PIXELS:
            raise GridError(
                f"window {self.window} is smaller than a patch, {PATCH_PIXELS} x {PATCH_PIXELS} "
                f"pixels of {FINEST_GSD} m"
            )

    @property
    def step(self) -> int:
        """The stride in 10 m pixels."""
        return self.stride // FINEST_GSD

    @property
    def rows(self) -> int:
        """Number of rows of patches inside the window."""
        return (self.window.height - PATCH_PIXELS) // self.step + 1

    @property
    def columns(self) -> int:
        """Number of columns of patches inside the window."""
        return (self.window.width - PATCH_PIXELS) // self.step + 1

    @property
    def extent(self) -> Window:
        """The window that all patches cover together."""
        return Window(
            self.window.col,
            self.window.row,
            (self.columns - 1) * self.step + PATCH_PIXELS,
            (self.rows - 1) * self.step + PATCH_PIXELS,
        )

    def strip(self, row: int) -> Window:
        """The window that a row of patches covers."""
        extent = self.extent
        return Window(extent.col, extent.row + row * self.step, extent.width, PATCH_PIXELS)

    def map_on(self, grid: Grid) -> MapGrid:
        """The grid of a map with a pixel at the centre of each patch.

        Args:
            grid: Grid of the product.
        """
        rim = (PATCH_METRES - self.stride) / 2
        return MapGrid(
            grid.crs,
            grid.left + self.window.col * FINEST_GSD + rim,
            grid.top - self.window.row * FINEST_GSD - rim,
            self.stride,
            self.rows,
            self.columns,
        )

    def boxes(self, grid: Grid, row: int, columns: Sequence[int]) -> list[Box]:
        """West, south, east and north of patches of a row, in the product's CRS."""
        north = grid.top - self.strip(row).row * FINEST_GSD
        wests = [grid.left + self.window.col * FINEST_GSD + c * self.stride for c in columns]
        return [(west, north - PATCH_METRES, west + PATCH_METRES, north) for west in wests]


def cut(
    planes: Planes, bands_in: Mapping[int, Sequence[str]], columns: Sequence[int], step: int
) -> Dn:
    """Cut patches from the pixels of their row.

    Args:
        planes: The pixels of the row.
        bands_in: Input bands of the network for each GSD.
        columns: Columns of the patches to cut.
        step: 10 m pixels from one patch to the next.
    """
    found = {}
    for gsd, names in bands_in.items():
        edge = PATCH_METRES // gsd
        found[gsd] = np.empty((len(columns), len(names), edge, edge), np.uint16)
        for at, column in enumerate(columns):
            first = column * step * FINEST_GSD // gsd
            for band, name in enumerate(names):
                found[gsd][at, band] = planes[name][:, first : first + edge]
    return found


def data_share(dn: Dn) -> np.ndarray:
    """Share of each patch in which every band has data; with several grids, the smallest."""
    shares = [(image != 0).all(axis=1).mean(axis=(1, 2)) for image in dn.values()]
    least: np.ndarray = np.min(shares, axis=0)
    return least


def native_rows(product: Product, names: Sequence[str], patches: PatchGrid) -> Iterator[Planes]:
    """Read bands as measured, row by row of patches.

    Args:
        product: The product.
        names: Names of the bands.
        patches: The patches.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    with BandReader(product, names, CACHE) as reader:
        strips = StripReader(reader, patches.extent)
        for row in range(patches.rows):
            yield strips.read_all(names, patches.strip(row))


def tile_rows(tile: SharpenedTile, extent: Window, patches: PatchGrid) -> Iterator[Planes]:
    """Read the bands of a sharpened tile, row by row of patches.

    Args:
        tile: The tile.
        extent: Window of the tile, in 10 m pixels of the product.
        patches: The patches, inside the tile.

    Raises:
        CorruptDataError: The file cannot be decoded.
    """
    first = patches.extent.col - extent.col
    with SharpenedRows(tile, first, first + patches.extent.width, PATCH_PIXELS) as reader:
        for row in range(patches.rows):
            # The reader reuses its buffer.
            held = reader.read(patches.strip(row).row - extent.row).copy()
            yield dict(zip(BAND_NAMES, held, strict=True))


def sharpened_rows(
    product: Product, sharpener: Sharpener, patches: PatchGrid, tile: int = DEFAULT_TILE
) -> Iterator[Planes]:
    """Sharpen bands, rounded to DN as in a sharpened tile, row by row of patches.

    Memory holds a row of the sharpener's windows and the rows above it that later patches need: 400
    MB for the twelve bands of a full tile.

    Args:
        product: The product.
        sharpener: The sharpener.
        patches: The patches.
        tile: See `sharpen_windows`.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    extent = patches.extent
    held = {name: np.empty((0, extent.width), np.uint16) for name in sharpener.bands}
    top, row = extent.row, 0
    for piece in sharpen_windows(product, extent, [sharpener], tile):
        core = piece.core
        if core.col == extent.col:
            for name in held:
                fresh = np.empty((core.height, extent.width), np.uint16)
                held[name] = np.concatenate([held[name], fresh])
        at = Window(core.col - extent.col, core.row - top, core.width, core.height).slices
        for name, image in piece.dn.items():
            held[name][at] = image
        if core.right < extent.right:
            continue
        while row < patches.rows and patches.strip(row).bottom <= core.bottom:
            first = patches.strip(row).row - top
            yield {name: rows[first : first + PATCH_PIXELS] for name, rows in held.items()}
            row += 1
        if row < patches.rows:
            needed = patches.strip(row).row
            held = {name: rows[needed - top :] for name, rows in held.items()}
            top = needed
