"""Write arrays as a sharpened tile, in the form of `decametre sharpen`.

Tests and the benchmark of patches need such tiles with known content and of any size, quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from decametre.io.cog import BLOCK
from decametre.io.outputs import write_json
from decametre.io.stac_item import sharpened_item
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.sharpening.image_writer import CogWriter

Rows = Callable[[str, slice], np.ndarray]
"""Returns rows of a band at 10 m: uint16, (rows, columns)."""


def make_sharpened(
    path: Path, product: Product, rows: Rows, *, window: Window | None = None, model: str = "made"
) -> Path:
    """Write a tile of all twelve bands, with its item next to it.

    Args:
        path: The GeoTIFF.
        product: The source product.
        rows: Called with a band and a slice of the product's rows, some hundred at a time.
        window: Part of the product in 10 m pixels; by default all of it.
        model: Name of the model that the quality record states.

    Returns:
        The GeoTIFF.
    """
    part = window or product.grid.window
    grid = product.grid.crop(part)
    radiometry = {name: product.bands[name].radiometry for name in BAND_NAMES}
    with CogWriter(path, grid, radiometry) as writer:
        for top in range(0, part.height, BLOCK):
            height = min(BLOCK, part.height - top)
            at = slice(part.row + top, part.row + top + height)
            images = {name: rows(name, at)[:, part.col : part.right] for name in BAND_NAMES}
            writer.write(Window(0, top, part.width, height), images)
        writer.finish({})
    quality = {
        "product": {"id": product.id},
        "models": {model: {"checksum_sha256": "0" * 64}},
        "bands": {name: {"offset_dn": radiometry[name].offset_dn} for name in BAND_NAMES},
    }
    tags = {name: statistics.tags for name, statistics in writer.statistics.items()}
    item = sharpened_item(
        product,
        grid,
        path,
        dict.fromkeys(radiometry, path.name),
        radiometry,
        tags,
        quality,
        {},
        {"quality": f"{path.stem}.quality.json"},
        "uint16",
        {},
    )
    write_json(path.with_suffix(".json"), item.to_dict(include_self_link=False))
    return path
