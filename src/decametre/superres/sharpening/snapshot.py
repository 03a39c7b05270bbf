"""Collects what the before/after picture shows, while a product is sharpened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decametre.sentinel2.bands import COARSEST_FACTOR
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.raster import BandReader
from decametre.superres.sharpening import quicklook as picture
from decametre.superres.sharpening.output_images import measured_reflectance
from decametre.superres.sharpening.sharpener import SharpenedWindow


class Snapshot:
    """Collects what the before/after picture shows: a square in the middle of the window."""

    def __init__(self, product: Product, window: Window, bands: Sequence[str]) -> None:
        step = COARSEST_FACTOR
        width = min(picture.EDGE, window.width) // step * step
        height = min(picture.EDGE, window.height) // step * step
        col = window.col + (window.width - width) // 2 // step * step
        row = window.row + (window.height - height) // 2 // step * step
        self.square = Window(col, row, width, height)
        self.product = product
        drawn = {name for names in picture.composites_of(bands) for name in names}
        self.bands = [name for name in bands if name in drawn]
        self.after = {n: np.full((height, width), np.nan, np.float32) for n in self.bands}

    def add(self, piece: SharpenedWindow) -> None:
        """Keep the part of a core that lies in the square."""
        common = piece.core.intersection(self.square)
        if common.width and common.height:
            into = common.relative_to(self.square).slices
            at = common.relative_to(piece.core).slices
            for name in self.bands:
                if name in piece.reflectance:
                    self.after[name][into] = piece.reflectance[name][at]
                else:
                    radiometry = self.product.bands[name].radiometry
                    self.after[name][into] = measured_reflectance(piece.dn[name][at], radiometry)

    def draw(self) -> np.ndarray:
        """The picture."""
        before = {}
        with BandReader(self.product, self.bands) as reader:
            for name in self.bands:
                dn = reader.read(name, self.square)
                before[name] = measured_reflectance(dn, self.product.bands[name].radiometry)
        return picture.draw(before, self.after)
