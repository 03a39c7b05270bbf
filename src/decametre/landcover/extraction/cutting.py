"""Cut patches from a product and its sharpened tile, in one pass from north to south."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from decametre.errors import GridError, PatchError, RadiometryError
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS, PATCH_PIXELS, Patch
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import NODATA
from decametre.sentinel2.raster import BandReader, StripReader
from decametre.superres.sharpening.sharpened_tile import SharpenedRows, SharpenedTile

_CACHE = 32 << 20
"""Bytes of GDAL's block cache: every block is read once, and several workers share the memory."""

_SCALE = 1e-4
"""Reflectance per DN in a store of patches."""


@dataclass(frozen=True)
class CuttingSource:
    """A product, with or without its sharpened tile, that patches are cut from.

    Attributes:
        product: The product.
        tile: The product's result of `decametre sharpen`, or None.
        keys: Keys of the images of each patch.

    Raises:
        RadiometryError: The product has another scale or nodata than a store.
        GridError: The pixels of the tile and of the product do not coincide.
        PatchError: The tile was made from another product, or with another offset.
        MissingBandError: The product lacks a band.
    """

    product: Product
    tile: SharpenedTile | None
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        product, tile = self.product, self.tile
        assert tile is not None or "data_super" not in self.keys
        check_scale(product, BAND_NAMES)
        if tile is None:
            return
        if tile.product != product.id:
            raise PatchError(f"{tile.path}: was made from {tile.product}, not from {product.id}")
        steps = (
            (tile.grid.left - product.grid.left) / FINEST_GSD,
            (product.grid.top - tile.grid.top) / FINEST_GSD,
        )
        if tile.grid.crs != product.grid.crs or any(abs(s - round(s)) > 1e-3 for s in steps):
            raise GridError(
                f"{tile.path}: begins at {tile.grid.left}, {tile.grid.top} in {tile.grid.crs}, "
                f"which is off the pixels of {product.id}; sharpen the product again"
            )
        for name, offset in tile.offsets.items():
            if offset != product.bands[name].radiometry.offset_dn:
                raise PatchError(
                    f"{tile.path}: band {name} has offset {offset} DN, but {product.id} has "
                    f"{product.bands[name].radiometry.offset_dn}; give --offset as in sharpening"
                )

    @property
    def extent(self) -> Window:
        """The area that patches can be cut from, in 10 m pixels of the product."""
        if self.tile is None:
            return self.product.grid.window
        grid = self.tile.grid
        col = round((grid.left - self.product.grid.left) / FINEST_GSD)
        row = round((self.product.grid.top - grid.top) / FINEST_GSD)
        return Window(col, row, grid.width, grid.height)


def check_scale(product: Product, names: Iterable[str]) -> None:
    """Make sure that a product has the scale and nodata of a store.

    Args:
        product: The product.
        names: Names of the bands to check.

    Raises:
        RadiometryError: A band has another scale or nodata.
        MissingBandError: The product lacks a band.
    """
    for file in product.band_files(names):
        radiometry = file.radiometry
        if not np.isclose(radiometry.scale, _SCALE, rtol=1e-6) or radiometry.nodata != NODATA:
            raise RadiometryError(
                f"{product.id}: band {file.band.name} has scale {radiometry.scale:g} and "
                f"nodata {radiometry.nodata}; a store of patches holds DN of scale "
                f"{_SCALE:g} with nodata {NODATA}"
            )


def cut_patches(source: CuttingSource, patches: Sequence[LocatedPatch]) -> Iterator[list[Patch]]:
    """Cut patches row by row.

    Native bands are never resampled. If there is a sharpened tile, the 10 m bands are read from
    it: sharpening copies them bit for bit, and the tile must be decoded anyway.

    Args:
        source: The product and its tile.
        patches: Patches inside `source.extent`, by row and column.

    Yields:
        The patches of a row that hold data; an empty list for a row without data.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    if not patches:
        return
    product = source.product
    left = min(patch.column for patch in patches)
    right = max(patch.column for patch in patches) + PATCH_PIXELS
    native = any(key in source.keys for key in NATIVE_KEYS)
    read = [
        name
        for key in NATIVE_KEYS
        if native and not (key == "data_10m" and source.tile)
        for name in LAYOUTS[key].bands
    ]
    offset = np.array([product.bands[n].radiometry.offset_dn for n in BAND_NAMES], np.int32)
    with ExitStack() as stack:
        bands = stack.enter_context(BandReader(product, read, _CACHE))
        height = patches[-1].row + PATCH_PIXELS - patches[0].row
        strips = StripReader(bands, Window(left, patches[0].row, right - left, height))
        rows = None
        if source.tile:
            extent = source.extent
            rows = stack.enter_context(
                SharpenedRows(
                    source.tile, left - extent.col, right - extent.col, PATCH_PIXELS, _CACHE
                )
            )
        for row, group in groupby(patches, key=lambda patch: patch.row):
            window = Window(left, row, right - left, PATCH_PIXELS)
            planes = dict(strips.read_all(read, window))
            if rows:
                held = rows.read(row - source.extent.row)
                fine = dict(zip(BAND_NAMES, held, strict=True))
            found = []
            for patch in group:
                data = {}
                for key in source.keys:
                    from_tile = rows and LAYOUTS[key].gsd == FINEST_GSD
                    data[key] = _cut(fine if from_tile else planes, key, patch.column - left)
                if any(image.any() for image in data.values()):
                    found.append(_patch(product, patch, data, offset))
            yield found


def _cut(planes: Mapping[str, np.ndarray], key: str, column: int) -> np.ndarray:
    """One image of a patch, from the rows of pixels that hold it."""
    layout = LAYOUTS[key]
    first = column * FINEST_GSD // layout.gsd
    image = np.empty(layout.shape, np.uint16)
    for index, name in enumerate(layout.bands):
        image[index] = planes[name][:, first : first + layout.shape[2]]
    return image


def _patch(
    product: Product, patch: LocatedPatch, data: Mapping[str, np.ndarray], offset: np.ndarray
) -> Patch:
    grid = product.grid
    origin = (grid.left + patch.column * FINEST_GSD, grid.top - patch.row * FINEST_GSD)
    return Patch(
        name=patch.name,
        product=product.id,
        crs=grid.crs,
        origin=origin,
        split=patch.split,
        labels=patch.labels,
        data=data,
        offset=offset,
        country=patch.country,
    )
