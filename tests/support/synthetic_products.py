"""Small products with real pixels: crops of scenes, as SAFE folders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from decametre.bench.synthetic_safe import make_safe
from decametre.errors import GridError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader


def make_products(scenes: Sequence[Product], folder: Path, count: int, edge: int) -> list[Path]:
    """Cut products out of scenes in turn; crops are repeated if there are too few.

    Args:
        scenes: Scenes with all bands.
        folder: Output folder; existing products are reused.
        count: Number of products.
        edge: Edge length of each in 10 m pixels, a multiple of 6.

    Returns:
        The SAFE folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for number, (scene, window) in enumerate(islice(cycle(_crops(scenes, edge)), count)):
        place = folder / f"{number:04d}"
        if not place.exists():
            partial = folder / f".{number:04d}"
            make_safe(
                partial,
                _pixels(scene, window),
                level="L2A",
                offset_dn=round(scene.bands["B02"].radiometry.offset_dn),
                crs=scene.grid.crs,
                left=300000 + 10.0 * edge * number,
                tile=_tile(number),
            )
            partial.rename(place)
        made += place.glob("*.SAFE")
    return made


def _crops(scenes: Sequence[Product], edge: int) -> list[tuple[Product, Window]]:
    """All complete crops.

    Raises:
        GridError: The scenes are too small.
    """
    crops = [
        (scene, Window(col, row, edge, edge))
        for scene in scenes
        for row in range(0, scene.grid.height - edge + 1, edge)
        for col in range(0, scene.grid.width - edge + 1, edge)
    ]
    if not crops:
        raise GridError(f"no crop of {edge} x {edge} pixels fits in {scenes[0].id}; cut smaller")
    return crops


def _pixels(scene: Product, window: Window) -> dict[str, np.ndarray]:
    """DN of every band on its own grid."""
    with BandReader(scene, scene.bands) as reader:
        return {name: reader.read(name, window) for name in ALL_BANDS if name in scene.bands}


def _tile(number: int) -> str:
    """A different MGRS tile for each number: zones 1 to 60, bands C to X."""
    rows, columns = "CDEFGHJKLMNPQRSTUVWX", "ABCDEFGHJKLMNPQRSTUVWXYZ"
    zone, rest = number % 60 + 1, number // 60
    return f"{zone:02d}{rows[rest % 20]}{columns[rest // 20 % 24]}A"
