"""Scenes in memory: pixels of a product or a window of it, every band on its native grid."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader
from decametre.superres.pixels.stack import read_stack

log = logging.getLogger(__name__)

FILL_REACH = 240
"""How far gaps are filled, in 10 m pixels: about seven degraded pixels at 6x. Pixels deeper in a
gap are 0."""


@dataclass(frozen=True)
class Scene:
    """Pixels of one piece of ground, on native grids.

    Attributes:
        name: The product's id, with the first column and row of the window unless it is the full
            product.
        reflectance: For each GSD, (bands, rows, columns), filled where there is no measurement.
        valid: bool, the same shapes.
    """

    name: str
    reflectance: Mapping[int, Tensor]
    valid: Mapping[int, Tensor]


def middle_of(scene: Scene, edge: int) -> Scene:
    """The middle of a scene.

    Args:
        scene: The scene.
        edge: Largest edge in 10 m pixels, a multiple of the coarsest pixels.
    """
    step = max(scene.valid) // FINEST_GSD
    rows, cols = (side * step for side in scene.valid[max(scene.valid)].shape[1:])
    height, width = min(edge, rows), min(edge, cols)
    top, left = ((rows - height) // 2 // step * step, (cols - width) // 2 // step * step)
    window = Window(left, top, width, height)

    def cropped(images: Mapping[int, Tensor]) -> dict[int, Tensor]:
        return {gsd: x[:, *window.coarsened(gsd // FINEST_GSD).slices] for gsd, x in images.items()}

    return Scene(scene.name, cropped(scene.reflectance), cropped(scene.valid))


def load_scene(product: Product, bands: Sequence[str], window: Window | None = None) -> Scene:
    """Read a product's pixels of these bands into memory.

    Args:
        product: The product.
        bands: Band names.
        window: The part to read, complete 60 m pixels; the full product by default.

    Raises:
        MissingBandError: The product lacks a band.
        CorruptDataError: A file cannot be decoded.
    """
    whole = product.grid.window
    window = window or whole
    with BandReader(product, bands) as reader:
        stack = read_stack(reader, product, bands, window, FILL_REACH)
    return Scene(
        product.id if window == whole else f"{product.id}@{window.col},{window.row}",
        {gsd: torch.from_numpy(image) for gsd, image in stack.reflectance.items()},
        {gsd: torch.from_numpy(mask) for gsd, mask in stack.valid.items()},
    )


def load_scenes(
    products: Iterable[Product], bands: Sequence[str], edge: int, count: int
) -> Iterator[tuple[Product, Scene]]:
    """Read at most `count` windows of each product, one after another.

    Args:
        products: Opened.
        bands: Band names.
        edge: Edge of a window in 10 m pixels, a multiple of 6. Smaller products are one window.
        count: Largest number of windows of a product, see `spread_windows`.

    Yields:
        The product and a scene of it.
    """
    for product in products:
        for window in spread_windows(product, edge, count):
            yield product, load_scene(product, bands, window)


def spread_windows(product: Product, edge: int, count: int) -> list[Window]:
    """At most `count` windows of a product, in row order.

    They are chosen at random from a grid, with the product's id as seed.
    """
    whole = product.grid.window
    windows = [
        Window(col, row, edge, edge).intersection(whole)
        for row in range(0, whole.height, edge)
        for col in range(0, whole.width, edge)
    ]
    if len(windows) <= count:
        return windows
    seed = int.from_bytes(hashlib.sha256(product.id.encode()).digest()[:8], "big")
    chosen = np.random.default_rng(seed).choice(len(windows), count, replace=False)
    log.info("%s: %d of %d windows are read", product.id, count, len(windows))
    return [windows[index] for index in sorted(chosen)]
