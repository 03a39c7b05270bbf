"""The blur of a product's 20 m and 60 m bands, measured from the product itself.

The 10 m bands show the same ground at a finer resolution. Degraded with the right kernel, a linear
combination of them approximates a coarse band best. In squares of ground (`CELL`), the coarse band
is regressed on the 10 m bands, which are degraded with one gain after another. The gain with the
least residual is that of the band. Aliasing does not matter, since the degraded 10 m bands and the
coarse band are sampled at the same places. Detail that the 10 m bands lack does not matter either,
if it is not correlated with them. Each square has its own noise level, so the logarithms of the
residuals are summed (maximum likelihood), and squares in which bands are highly correlated have the
largest effect.

The method measures the blur *in addition* to that of the 10 m bands, whose gain at their own
Nyquist frequency is assumed to be nominal. An error of 0.1 in that gain is an error of 0.03 to 0.05
in a 20 m band, and of less than 0.01 in a 60 m band. No 10 m band is in the short-wave infrared, so
the gains of B11 and B12 are underestimated by a fifth to a third: a stronger blur also removes
detail of the 10 m bands that B11 and B12 lack. `SYSTEMATIC` and `MAX_UNDERESTIMATE` account for
both. docs/reports/accuracy.md has the evidence.

All blurs are Gaussian; variances add, see `kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD, bands_at
from decametre.sentinel2.product import Product
from decametre.superres.degradation.kernels import degrade
from decametre.superres.pixels.scenes import Scene, load_scene, middle_of, spread_windows

GAINS = (
    0.03,
    0.06,
    0.1,
    0.14,
    0.18,
    0.22,
    0.26,
    0.3,
    0.34,
    0.38,
    0.42,
    0.47,
    0.52,
    0.58,
    0.65,
    0.75,
)
"""Candidates for the gain at the band's Nyquist frequency; the result is interpolated."""

CELL = {20: 16, 60: 12}
"""Edge of a square of ground with one regression, in pixels of the coarse band."""

REACH = 3
"""Reach of kernels beyond the coarse pixel's own cell, in coarse pixels."""

MIN_MEASURED_SHARE = 0.5
"""Squares with a smaller share of pixels computed from measurements are skipped."""

MIN_CELLS = 8
"""With fewer squares, a band has no result."""

RESAMPLES = 200
"""Number of bootstrap samples of squares for the interval."""

SYSTEMATIC = 0.05
"""Half the width of the interval for an unlimited number of squares."""

MAX_UNDERESTIMATE = {"B11": 1.45, "B12": 1.45}
"""Largest ratio of a band's gain to the measured one; see above."""

WINDOW_EDGE, MAX_WINDOWS = 1200, 6
"""Windows of a product that are read: their edge in 10 m pixels, and their largest number."""

PRIOR_SPREAD = 0.15
"""Standard deviation of the prior distribution of gains in `measured_gains`."""

INDEPENDENT_SHARE = 0.1
"""Share of the pixels of a square that count as independent, next to the prior distribution. With
all pixels, noise would have more weight than the prior."""

MIDDLE_EDGE = 504
"""Edge of the part of a scene in which gains are measured, in pixels of the finest grid."""


@dataclass(frozen=True)
class MeasuredMtf:
    """The gain of one band at the Nyquist frequency of its grid.

    Attributes:
        band: Name of the band.
        nominal: Gain according to the description of the instrument.
        gain: Measured gain; None if there are too few squares of ground.
        low: Lower end of the 95 % interval, or None.
        high: Upper end of the 95 % interval, or None.
        cells: Number of squares of ground.
    """

    band: str
    nominal: float
    gain: float | None
    low: float | None
    high: float | None
    cells: int


def measure_mtf(product: Product) -> list[MeasuredMtf]:
    """Measure the 20 m and 60 m bands of a product that also has the four 10 m bands.

    Args:
        product: The product; at most `MAX_WINDOWS` windows of it are read.

    Returns:
        One result for each 20 m and 60 m band of the product, by wavelength.

    Raises:
        MissingBandError: A 10 m band is missing.
        CorruptDataError: A file cannot be decoded.
    """
    fine = bands_at(FINEST_GSD)
    found = []
    for gsd in sorted(CELL):
        names = [name for name in bands_at(gsd) if name in product.bands]
        if names:
            scenes = [
                load_scene(product, [*fine, *names], window)
                for window in spread_windows(product, WINDOW_EDGE, MAX_WINDOWS)
            ]
            found += measure_bands(scenes, names)
    return sorted(found, key=lambda measured: list(ALL_BANDS).index(measured.band))


def measure_bands(
    scenes: Sequence[Scene], names: Sequence[str], fine_gains: Sequence[float] | None = None
) -> list[MeasuredMtf]:
    """Measure bands of one GSD in parts of a product.

    Args:
        scenes: Scenes with the 10 m bands and these bands.
        names: The bands, in the scenes' order.
        fine_gains: Gains of the 10 m bands at their Nyquist frequency; nominal by default.
    """
    gsd = ALL_BANDS[names[0]].gsd
    if fine_gains is None:
        fine_gains = [ALL_BANDS[name].mtf for name in bands_at(FINEST_GSD)]
    residuals = [_residuals(scene, gsd, fine_gains) for scene in scenes]
    random = np.random.default_rng(0)
    found = []
    for index, name in enumerate(names):
        logs = np.concatenate([r[:, index] for r in residuals], axis=1)
        logs = logs[:, np.isfinite(logs).all(axis=0)]
        cells, nominal = logs.shape[1], ALL_BANDS[name].mtf
        if cells < MIN_CELLS:
            found.append(MeasuredMtf(name, nominal, None, None, None, cells))
            continue
        gain = _best_gain(logs.mean(axis=1))
        drawn = [
            _best_gain(logs[:, random.integers(cells, size=cells)].mean(axis=1))
            for _ in range(RESAMPLES)
        ]
        half = math.hypot(1.96 * float(np.std(drawn)), SYSTEMATIC)
        low, high = max(0.0, gain - half), min(1.0, MAX_UNDERESTIMATE.get(name, 1.0) * gain + half)
        found.append(MeasuredMtf(name, nominal, gain, low, high, cells))
    return found


def measured_gains(
    scenes: Sequence[Scene], gsd: int, typical: Sequence[float]
) -> tuple[Tensor, int]:
    """The most probable gains of the bands of one GSD.

    Each gain has a normal prior distribution around its typical value, which decides where there
    is nothing to measure, such as on open water.

    Where too few squares were measured, such as in scenes with many missing rows, filled pixels
    are used as well, which lowers the gains by up to 0.05.

    Args:
        scenes: Parts of a product, with the 10 m bands and bands of this GSD. Only the middle of
            each is used, see `MIDDLE_EDGE`.
        gsd: 20 or 60.
        typical: The typical gain of each band.

    Returns:
        (bands of this GSD), float32, and the number of squares of ground.
    """
    fine_gains = [ALL_BANDS[name].mtf for name in bands_at(FINEST_GSD)]

    def logs_of(parts: Sequence[Scene]) -> np.ndarray:
        nothing = np.empty((len(GAINS), len(typical), 0))
        logs = np.concatenate([nothing, *(_residuals(x, gsd, fine_gains) for x in parts)], axis=2)
        return logs[:, :, np.isfinite(logs).all(axis=(0, 1))]

    parts = [middle_of(scene, MIDDLE_EDGE) for scene in scenes]
    logs = logs_of(parts)
    if logs.shape[2] < MIN_CELLS:
        logs = logs_of([_as_measured(part) for part in parts])
    deviations = np.array(GAINS)[:, None] - np.array(typical)
    pixels = INDEPENDENT_SHARE * CELL[gsd] ** 2
    costs = pixels / 2 * logs.sum(axis=2) + (deviations / PRIOR_SPREAD) ** 2 / 2
    return torch.tensor([_best_gain(of_band) for of_band in costs.T]), logs.shape[2]


def _as_measured(scene: Scene) -> Scene:
    """The scene with its filled pixels marked as measured."""
    valid = {gsd: torch.ones_like(mask) for gsd, mask in scene.valid.items()}
    return Scene(scene.name, scene.reflectance, valid)


def _residuals(scene: Scene, gsd: int, fine_gains: Sequence[float]) -> np.ndarray:
    """Logarithms of mean squared residuals, (gains, bands, squares); NaN for skipped squares."""
    scale, cell = gsd // FINEST_GSD, CELL[gsd]
    fine, coarse = scene.reflectance[FINEST_GSD], scene.reflectance[gsd]
    rows, cols = (side // cell * cell for side in coarse.shape[1:])
    if not rows or not cols:  # smaller than a square
        return np.empty((len(GAINS), len(coarse), 0))
    measured = scene.valid[FINEST_GSD].all(dim=0, keepdim=True).float()[None]
    widest = gaussian_taps(variance_of(GAINS[0]) * scale**2, scale)[None]
    clean = degrade(measured, widest, scale)[0] > 1 - 1e-3
    weights = _cells((clean & scene.valid[gsd])[:, :rows, :cols].double(), cell)
    answers = _cells(coarse[:, :rows, :cols].double(), cell)
    enough = weights.mean(dim=2) >= MIN_MEASURED_SHARE
    found = []
    for gain in GAINS:
        taps = torch.stack(
            [
                gaussian_taps(variance_of(gain) * scale**2 - variance_of(own), scale)
                for own in fine_gains
            ]
        )
        guides = _cells(degrade(fine[None].double(), taps, scale)[0, :, :rows, :cols], cell)
        left = [
            _mean_squared_residual(guides, of_band, weight)
            for of_band, weight in zip(answers, weights, strict=True)
        ]
        found.append(torch.where(enough, torch.stack(left), torch.nan).log())
    return torch.stack(found).numpy()


def _cells(x_bhw: Tensor, cell: int) -> Tensor:
    """(bands, squares, pixels of a square)."""
    squares = x_bhw.unfold(1, cell, cell).unfold(2, cell, cell)
    return squares.reshape(len(x_bhw), -1, cell**2)


def _mean_squared_residual(guides: Tensor, answers: Tensor, weights: Tensor) -> Tensor:
    """Mean squared residuals of the regressions, one for each square.

    Args:
        guides: (bands, squares, pixels).
        answers: (squares, pixels).
        weights: (squares, pixels), 1 for pixels that are used, otherwise 0.
    """
    total = weights.sum(dim=1).clamp(min=1)

    def centred(x: Tensor) -> Tensor:
        return (x - ((x * weights).sum(dim=-1) / total)[..., None]) * weights

    x, y = centred(guides).permute(1, 2, 0), centred(answers)[..., None]
    covariance = x.mT @ x
    # A ridge of a millionth makes the solution unique where bands of flat ground are equal.
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    diagonal += 1e-6 * diagonal.mean(dim=1, keepdim=True) + 1e-12
    slopes, _ = torch.linalg.solve_ex(covariance, x.mT @ y)
    return (y - x @ slopes).square().sum(dim=(1, 2)) / total + 1e-12


def _best_gain(logs: np.ndarray) -> float:
    """The gain with the least residual, by a parabola through three neighbours of `GAINS`."""
    variances = np.array([variance_of(gain) for gain in GAINS])
    middle = int(np.clip(np.argmin(logs), 1, len(GAINS) - 2))
    near = slice(middle - 1, middle + 2)
    curvature, slope, _ = np.polyfit(variances[near], logs[near], 2)
    best = -slope / (2 * curvature) if curvature > 0 else variances[np.argmin(logs)]
    return gain_of(float(np.clip(best, variances.min(), variances.max())))


def variance_of(gain: float) -> float:
    """Variance in squared pixels of a Gaussian blur of this gain at the grid's Nyquist frequency.

    exp(-2 pi^2 sigma^2 f^2) is `gain` at f = 1/2 per pixel.
    """
    return -2 * math.log(gain) / math.pi**2


def gain_of(variance: float) -> float:
    """The inverse of `variance_of`."""
    return math.exp(-(math.pi**2) * variance / 2)


def gaussian_taps(variance: float, scale: int) -> Tensor:
    """Weights with an exactly Gaussian response, unlike samples of a Gaussian below a pixel.

    They are the inverse Fourier transform of exp(-2 pi^2 variance f^2) over the frequencies of the
    fine grid, at the distances of fine pixels from the centre of a coarse pixel, tapered.

    Args:
        variance: In squared fine pixels; negative values sharpen.
        scale: Ratio of the grids.

    Returns:
        ((1 + 2 `REACH`) scale), float64, of sum 1.
    """
    length = scale * (1 + 2 * REACH)
    offsets = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    frequencies = (torch.arange(256, dtype=torch.float64) + 0.5) / 512
    response = torch.exp(-2 * math.pi**2 * variance * frequencies**2)
    taps = torch.cos(2 * math.pi * offsets[:, None] * frequencies) @ response
    outer = (4 * offsets.abs() / (length + 1) - 1).clamp(min=0)  # 0 in the inner half, 1 at the end
    taps *= 0.5 + 0.5 * torch.cos(math.pi * outer)
    return taps / taps.sum()
