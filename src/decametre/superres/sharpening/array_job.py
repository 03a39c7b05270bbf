"""Sharpening into arrays: no file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decametre.progress import Progress, silent
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.superres.models.registry import Model
from decametre.superres.sharpening.image_writer import BandStatistics
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.sharpened_product import SharpenedProduct


@dataclass(frozen=True)
class SharpenedArrays:
    """Sharpened bands in memory.

    Attributes:
        bands: (rows, columns) at 10 m for each band: DN, uint16, with scale, offset and nodata of
            the input; or reflectance, float32, with NaN without data.
        quality: The quality card.
        deviations: For each sharpened band, the standard deviation of its error, in the unit and
            shape of the band: uint16 DN with 0 where it is unknown, or float32 with NaN. Empty if
            it was not requested.
    """

    bands: Mapping[str, np.ndarray]
    quality: Mapping[str, Any]
    deviations: Mapping[str, np.ndarray]


class ArrayWriter:
    """Takes the sharpened windows into arrays.

    Args:
        grid: The 10 m grid of the output.
        radiometry: Scale, offset and nodata of each output band.
        dtype: `uint16` for DN, `float32` for reflectance.

    Attributes:
        images: (rows, columns) for each band.
        statistics: Statistics of the bands that were written so far.
    """

    def __init__(self, grid: Grid, radiometry: Mapping[str, Radiometry], dtype: str) -> None:
        self.images = {name: np.empty(grid.shape(), dtype) for name in radiometry}
        self.statistics = {name: BandStatistics() for name in radiometry}
        self._nodata = {
            name: np.nan if dtype == "float32" else band.nodata for name, band in radiometry.items()
        }

    def write(self, window: Window, images: Mapping[str, np.ndarray]) -> None:
        """Take all bands of a window, which is relative to the first pixel of the output."""
        for name, into in self.images.items():
            into[window.slices] = images[name]
            self.statistics[name].add(images[name], self._nodata[name])


def run_in_memory(
    product: Product,
    models: Sequence[Model],
    window: Window,
    options: SharpenOptions,
    progress: Progress = silent,
) -> SharpenedArrays:
    """Sharpen a window of a product into arrays.

    Args:
        product: The product.
        models: From `registry.models_for`, for the bands of the options.
        window: In 10 m pixels, a multiple of every band's pixels.
        options: How.
        progress: Called after each window that is computed.

    Raises:
        DecametreError: See `decametre.sharpen`.
    """
    result = SharpenedProduct(product, window, models, options)
    writer, deviations = (
        ArrayWriter(result.grid, radiometry, result.dtype)
        for radiometry in (result.radiometry, result.deviations)
    )
    result.compute(writer, deviations, progress)
    return SharpenedArrays(writer.images, result.quality_card(), deviations.images)
