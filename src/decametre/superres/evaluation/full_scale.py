"""Indices at full scale, 10 m, where there is no reference. None of them is an accuracy.

* Consistency residual: root mean square difference of the sharpened band, degraded with the
  sensor's MTF, from the measured band, relative to the band's mean. 0 is necessary for a correct
  result, but not sufficient.
* Detail correlation: correlation of the high-pass details of the sharpened band and of a 10 m
  band, a measure of transferred sharpness (Zhou et al. 1998). A higher value is not always better:
  a copy of the 10 m band has 1. For comparison, the index of the measured band on its own grid is
  also computed.
* D_lambda and D_rho, see `pansharpening_indices`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from decametre.options import DEFAULT_TILE
from decametre.sentinel2.bands import COARSEST_FACTOR, FINEST_GSD, bands_at
from decametre.sentinel2.grid import Window
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.tiling import split
from decametre.superres.degradation.kernels import degrade, kernel_taps, radius_of
from decametre.superres.evaluation.compared_models import Method
from decametre.superres.evaluation.comparison import SceneWindow
from decametre.superres.evaluation.pansharpening_indices import (
    RunningMean,
    local_correlation,
    q2n,
)
from decametre.superres.evaluation.results import FullScaleIndices, FullScaleScores
from decametre.superres.sharpening.adaptation import adapt_models
from decametre.superres.sharpening.consistency import KERNEL, ResidualSums
from decametre.superres.sharpening.output_images import measured_reflectance
from decametre.superres.sharpening.pipeline import sharpen_windows
from decametre.superres.sharpening.sharpener import Sharpener

FINE_BANDS = bands_at(FINEST_GSD)


@dataclass
class RunningCorrelation:
    """Running sums of pairs of numbers, for their correlation."""

    count: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add pairs, except those with a NaN."""
        known = ~(np.isnan(x) | np.isnan(y))
        x, y = x[known].astype(np.float64), y[known].astype(np.float64)
        self.count += x.size
        self.x += float(x.sum())
        self.y += float(y.sum())
        self.xx += float(x @ x)
        self.yy += float(y @ y)
        self.xy += float(x @ y)

    @property
    def correlation(self) -> float:
        """Pearson's correlation, between -1 and 1; NaN if one of the two is constant."""
        if not self.count:
            return math.nan
        xx, yy = self.xx - self.x**2 / self.count, self.yy - self.y**2 / self.count
        if min(xx, yy) <= 0:
            return math.nan
        return (self.xy - self.x * self.y / self.count) / math.sqrt(xx * yy)


def details(image: np.ndarray) -> np.ndarray:
    """High-pass details: eight times a pixel minus its eight neighbours (Zhou et al. 1998).

    Args:
        image: (rows, columns); NaN where there is no data.

    Returns:
        (rows - 2, columns - 2), without the outermost pixels; NaN where one of the nine is NaN.
    """
    kernel = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
    found: np.ndarray = ndimage.convolve(image, kernel, mode="nearest")[1:-1, 1:-1]
    return found


def full_scale_scores(
    part: SceneWindow, methods: Sequence[Method], scale: int, device: torch.device
) -> FullScaleScores:
    """Sharpen a product with every method and compute the indices.

    Args:
        part: The product and its window.
        methods: From `methods_for`.
        scale: 2 or 6.
        device: Device of the networks.

    Raises:
        CorruptDataError: A file cannot be decoded.
    """
    bands = bands_at(FINEST_GSD * scale)
    guides, measured = guides_of(part, scale)
    indices = {}
    for method in methods:
        names = tuple(band for band in bands if band in method.model.card.bands_out)
        indices[method.label] = _score_method(part, method, names, guides, device)
    return FullScaleScores(part.name, guides, measured, indices)


def guides_of(part: SceneWindow, scale: int) -> tuple[dict[str, str], dict[str, float]]:
    """For each band of a scale, the 10 m band with the most similar detail as measured.

    The 10 m bands are averaged to the grid of the band, so the result does not depend on any
    method.

    Returns:
        The name of the 10 m band and the correlation, by band.
    """
    bands = bands_at(FINEST_GSD * scale)
    sums = {(band, fine): RunningCorrelation() for band in bands for fine in FINE_BANDS}
    names = (*FINE_BANDS, *bands)
    radiometry = {name: part.product.bands[name].radiometry for name in names}
    with BandReader(part.product, names) as reader:
        for core in split(part.window, 2 * DEFAULT_TILE, COARSEST_FACTOR):
            read = reader.read_all(names, core)
            image = {name: measured_reflectance(read[name], radiometry[name]) for name in names}
            coarse = {
                name: details(plane if name in bands else averaged(plane, scale))
                for name, plane in image.items()
            }
            for (band, fine), moments in sums.items():
                moments.add(coarse[band], coarse[fine])
    found = {pair: moments.correlation for pair, moments in sums.items()}
    guides, measured = {}, {}
    for band in bands:
        like = {fine: found[band, fine] for fine in FINE_BANDS}
        known = [fine for fine in FINE_BANDS if not math.isnan(like[fine])]
        guides[band] = max(known or FINE_BANDS, key=like.__getitem__)
        measured[band] = like[guides[band]]
    return guides, measured


def averaged(image: np.ndarray, factor: int) -> np.ndarray:
    """The mean of factor x factor pixels; NaN where one of them is NaN."""
    rows, cols = image.shape
    blocks = image.reshape(rows // factor, factor, cols // factor, factor)
    found: np.ndarray = blocks.mean(axis=(1, 3))
    return found


def _score_method(
    part: SceneWindow,
    method: Method,
    bands: tuple[str, ...],
    guides: dict[str, str],
    device: torch.device,
) -> FullScaleIndices:
    """The indices of one method."""
    card = method.model.card
    models, _ = adapt_models([method.model], part.product)
    sharpener = Sharpener(models, (*FINE_BANDS, *bands), device, torch.float32)
    sums, moments = (
        ResidualSums.zeros(card.bands_out),
        {band: RunningCorrelation() for band in bands},
    )
    quality, likeness = RunningMean(), {band: RunningMean() for band in bands}
    fine = {name: part.product.bands[name].radiometry for name in FINE_BANDS}
    taps = kernel_taps(KERNEL, bands, card.scale)
    reach = radius_of(taps, card.scale)
    rim = -(-reach // card.scale)  # in coarse pixels
    for piece in sharpen_windows(part.product, part.window, [sharpener]):
        sums += piece.residuals[card.name]
        guide = {
            name: measured_reflectance(piece.dn[name], radiometry)
            for name, radiometry in fine.items()
        }
        for band in bands:
            image = piece.reflectance[band]
            moments[band].add(details(image), details(guide[guides[band]]))
            likeness[band].add(local_correlation(image, list(guide.values()), card.scale))
        sharpened = torch.from_numpy(np.stack([piece.reflectance[band] for band in bands]))
        if min(sharpened.shape[1:]) > 2 * rim * card.scale:
            inner = slice(rim * card.scale - reach, -(rim * card.scale - reach) or None)
            degraded = degrade(sharpened[None, :, inner, inner], taps, card.scale, pad=False)[0]
            coarse = _measured(part, bands, piece.core)[:, rim:-rim, rim:-rim]
            known = ~(degraded.isnan() | coarse.isnan())
            quality.add(q2n(degraded.nan_to_num(), coarse.nan_to_num(), known))
    return FullScaleIndices(
        {band: _relative(sums, card.bands_out.index(band)) for band in bands},
        {band: moments[band].correlation for band in bands},
        1 - quality.mean,
        {band: 1 - likeness[band].mean for band in bands},
    )


def _measured(part: SceneWindow, bands: Sequence[str], core: Window) -> torch.Tensor:
    """Reflectance of bands as measured, (bands, rows, columns); NaN without data."""
    with BandReader(part.product, bands) as reader:
        planes = [
            measured_reflectance(reader.read(name, core), part.product.bands[name].radiometry)
            for name in bands
        ]
    return torch.from_numpy(np.stack(planes))


def _relative(sums: ResidualSums, index: int) -> float:
    """Root mean square of a band's residual divided by its mean; NaN if there are no pixels."""
    count, mean = float(sums.count[index]), float(sums.values[index])
    if not count or mean <= 0:
        return math.nan
    return math.sqrt(float(sums.squares[index]) * count) / mean
