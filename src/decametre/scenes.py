"""Scenes in memory: all pixels of a product, every band on its native grid."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decametre.io.opening import open_product
from decametre.io.product import Product
from decametre.io.raster import BandReader
from decametre.stack import read_stack

log = logging.getLogger(__name__)

FILL_REACH = 240
"""How far gaps are filled, in 10 m pixels: some seven degraded pixels at 6x. Deeper ones are 0."""


@dataclass(frozen=True)
class Scene:
    """All of a product's pixels, on native grids.

    Attributes:
        name: The product's id.
        reflectance: For each GSD, (bands, rows, columns), filled where nothing was measured.
        valid: bool, the same shapes.
    """

    name: str
    reflectance: Mapping[int, Tensor]
    valid: Mapping[int, Tensor]


def load_scene(product: Product, bands: Sequence[str]) -> Scene:
    """Read all of a product's pixels of these bands into memory."""
    with BandReader(product, bands) as reader:
        stack = read_stack(reader, product, bands, product.grid.window, FILL_REACH)
    return Scene(
        product.id,
        {gsd: torch.from_numpy(image) for gsd, image in stack.reflectance.items()},
        {gsd: torch.from_numpy(mask) for gsd, mask in stack.valid.items()},
    )


def load_scenes(sources: Iterable[str], bands: Sequence[str]) -> list[Scene]:
    """Open and read several products."""
    scenes = [load_scene(open_product(source), bands) for source in sources]
    log.info("%d scenes in memory", len(scenes))
    return scenes
