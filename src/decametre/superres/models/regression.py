"""Local regression of the coarse bands on the finer bands, fitted to the image itself.

The relation between bands depends on ground, haze and sun, so a network that was trained on few
scenes is inaccurate on others. But every coarse pixel of the image is an example of this relation,
if the finer bands are degraded to the coarse grid. Around each coarse pixel, a ridge regression of
the coarse bands on the degraded finer bands is solved in closed form. It predicts the coarse bands
at 10 m from the finer bands. Nothing is trained.

The finer bands must be degraded with the kernel of the coarse bands. Otherwise, the regression
compensates the difference and adds wrong detail. The kernel is unknown, so several regressions use
different kernels, and their errors on the coarse grid show which kernel is close.

The idea is the injection model of pansharpening (context-based decision: Aiazzi et al. 2002,
https://doi.org/10.1109/TGRS.2002.803623; as guided filter with coefficients that change smoothly:
He et al. 2013, https://doi.org/10.1109/TPAMI.2012.213), with all finer bands at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.degradation.kernels import blurred_square_taps, degrade, mirrored
from decametre.superres.models.bicubic import bicubic, enlarge

RIDGE_FLOOR = 1e-8
"""Added to the ridge, in reflectance squared, so that flat ground gets no detail."""

MIN_WEIGHT = 1e-3
"""Weight of an example that was not measured, so that a window without measurements has a mean."""

KERNEL_REACH = 2
"""Reach of the kernel beyond the coarse pixel's own cell, in coarse pixels."""


@dataclass(frozen=True)
class Fit:
    """Settings of a local regression.

    Attributes:
        radius: Radius of the window of examples, in coarse pixels.
        ridge: In units of the finer bands' mean variance in the window.
        gain: The finer bands are degraded with a Gaussian of this gain at the coarse Nyquist
            frequency; None: with the mean over a coarse pixel.
        softened: Examples are first smoothed with (1, 2, 1) / 4 along rows and columns, which
            reduces the effect of the kernel.

    Raises:
        ValueError: A number is out of range.
    """

    radius: int
    ridge: float
    gain: float | None = None
    softened: bool = False

    @classmethod
    def of(cls, radius: Any, ridge: Any, gain: Any = None, softened: bool = False) -> Fit:
        """Read settings of a recipe or a card; in YAML, 1e-3 without a dot is a string."""
        return cls(int(radius), float(ridge), None if gain is None else float(gain), softened)

    def __post_init__(self) -> None:
        if self.radius < 0 or self.ridge < 0:
            raise ValueError(f"radius {self.radius} and ridge {self.ridge} must not be negative")
        if self.gain is not None and not 0 < self.gain < 1:
            raise ValueError(f"gain {self.gain} must be between 0 and 1")

    @property
    def reach(self) -> int:
        """Receptive field in coarse pixels.

        The sum of the window, the interpolation of coefficients and errors (1 + 2), the smoothing,
        bicubic interpolation of finer bands (1), and twice the kernel.
        """
        kernel = 0 if self.gain is None else KERNEL_REACH
        return self.radius + 4 + self.softened + 2 * kernel


class FittedRegressions(NamedTuple):
    """Local regressions of the coarsest bands on the finer ones.

    Attributes:
        coefficients: (batch, fits, bands, guides + 1, rows, columns) on the coarsest grid: the
            slopes on the finer bands, in the order of their GSD, and the intercept in reflectance.
        predicted: (batch, fits, bands, rows, columns) on the finest grid, reflectance.
        missed: (batch, fits, bands, rows, columns) on the coarsest grid: the coarsest bands minus
            the degraded prediction, reflectance.
    """

    coefficients: Tensor
    predicted: Tensor
    missed: Tensor


def local_regressions(
    reflectance: Mapping[int, Tensor], measured: Tensor, fits: Sequence[Fit]
) -> FittedRegressions:
    """The coarsest bands on the finest grid, by regressions on the finer bands in windows.

    Args:
        reflectance: For each GSD, (batch, bands, rows, columns) on that grid.
        measured: (batch, 1, rows, columns) on the coarsest grid: the weight of each pixel as an
            example, 0 where it was not measured completely.
        fits: The regressions.

    Returns:
        What the regressions predict, float32.
    """
    coarsest, finest = max(reflectance), min(reflectance)
    factor = coarsest // finest
    coarse = reflectance[coarsest].float()
    guide = torch.cat(
        [
            bicubic(image.float(), gsd // finest) if gsd > finest else image.float()
            for gsd, image in sorted(reflectance.items())
            if gsd < coarsest
        ],
        dim=1,
    )
    weight = measured.double().clamp(min=MIN_WEIGHT)
    coarser = {gain: _coarser(guide, gain, factor) for gain in {fit.gain for fit in fits}}
    moments: dict[tuple[int, float | None, bool], _Moments] = {}
    coefficients, predictions, misses = [], [], []
    for fit in fits:
        key = fit.radius, fit.gain, fit.softened
        if key not in moments:
            moments[key] = _Moments(coarser[fit.gain], coarse, weight, fit)
        coefficients.append(moments[key].coefficients(fit.ridge))
        predicted = _applied(coefficients[-1], guide, factor)
        predictions.append(predicted)
        misses.append(coarse - _coarser(predicted, fit.gain, factor))
    return FittedRegressions(
        *(torch.stack(of_fits, dim=1) for of_fits in (coefficients, predictions, misses))
    )


def _coarser(image: Tensor, gain: float | None, factor: int) -> Tensor:
    """Degrade an image to the coarsest grid; see `Fit.gain`."""
    if gain is None:
        return F.avg_pool2d(image, factor)
    taps = blurred_square_taps(gain, 0.0, factor, KERNEL_REACH * factor)
    return degrade(image, taps.expand(image.shape[1], -1), factor)


def _softened(image: Tensor) -> Tensor:
    """Smooth an image; see `Fit.softened`."""
    image = mirrored(image, [1, 1, 1, 1])
    image = (image[..., :-2, :] + 2 * image[..., 1:-1, :] + image[..., 2:, :]) / 4
    return (image[..., :-2] + 2 * image[..., 1:-1] + image[..., 2:]) / 4


class _Moments:
    """Weighted means and covariances in the window around each coarse pixel, in float64.

    float64, since a variance is a small difference of large numbers. Each finer band has the row of
    its covariances with itself, the finer bands after it, and the coarse bands.
    """

    def __init__(self, guide: Tensor, coarse: Tensor, weight: Tensor, fit: Fit) -> None:
        examples = torch.cat([guide, coarse], dim=1)
        examples = (_softened(examples) if fit.softened else examples).double()
        total = box_sum(weight, fit.radius)
        weighted = examples * weight
        self.mean = mean = box_sum(weighted, fit.radius) / total
        self.rows = [
            box_sum(weighted[:, i : i + 1] * examples[:, i:], fit.radius) / total
            - mean[:, i : i + 1] * mean[:, i:]
            for i in range(guide.shape[1])
        ]

    def coefficients(self, ridge: float) -> Tensor:
        """Slopes and intercepts, (batch, coarse bands, finer bands + 1, rows, columns), float32."""
        guides = len(self.rows)
        variance = sum(row[:, :1] for row in self.rows) / guides
        diagonal = ridge * variance + RIDGE_FLOOR
        rows = [torch.cat([row[:, :1] + diagonal, row[:, 1:]], dim=1) for row in self.rows]
        slopes = torch.stack(_solved(rows), dim=2)
        mean_guide, mean_coarse = self.mean.tensor_split([guides], dim=1)
        intercepts = mean_coarse - (slopes * mean_guide[:, None]).sum(dim=2)
        return torch.cat([slopes, intercepts[:, :, None]], dim=2).float()


def _solved(rows: list[Tensor]) -> list[Tensor]:
    """Solve a system of equations with a symmetric positive definite matrix at every pixel.

    Gaussian elimination, which needs no pivots for such a matrix. Every step is one operation for
    all pixels, many times faster than LAPACK is on many small matrices.

    Args:
        rows: For each unknown, (batch, entries, rows, columns): its row of the matrix from the
            diagonal on, then the right-hand sides.

    Returns:
        For each unknown, (batch, right-hand sides, rows, columns).
    """
    rows, count = list(rows), len(rows)
    for k in range(count):
        factors = rows[k] / rows[k][:, :1]
        for i in range(k + 1, count):
            rows[i] = torch.addcmul(rows[i], factors[:, i - k, None], rows[k][:, i - k :], value=-1)
        rows[k] = factors
    solved: list[Tensor] = []
    for k in reversed(range(count)):
        known, found = rows[k][:, 1:].tensor_split([count - k - 1], dim=1)
        for j, other in enumerate(solved):
            found = torch.addcmul(found, known[:, j, None], other, value=-1)
        solved.insert(0, found)
    return solved


def _applied(coefficients: Tensor, guide: Tensor, factor: int) -> Tensor:
    """The prediction at 10 m: coefficients change linearly from one coarse pixel to the next."""
    bands = []
    for of_band in coefficients.unbind(dim=1):  # in a loop, because they are large at 10 m
        fine = enlarge(of_band, factor, "bilinear")
        bands.append((fine[:, :-1] * guide).sum(dim=1) + fine[:, -1])
    return torch.stack(bands, dim=1)


def box_sum(x_bchw: Tensor, radius: int) -> Tensor:
    """Sums over squares of 2 radius + 1 pixels; pixels outside are 0."""
    edge = 2 * radius + 1
    rows = _sums_along(F.pad(x_bchw, [0, 0, radius, radius]), edge, dim=2)
    return _sums_along(F.pad(rows, [radius, radius]), edge, dim=3)


def _sums_along(x: Tensor, count: int, dim: int) -> Tensor:
    """Sums of `count` successive values along an axis, which becomes `count` - 1 shorter.

    Adds sums of 1, 2, 4, ... values, always in the same order, so a sum does not depend on the
    first value of the axis as a difference of cumulative sums would.
    """
    length = x.shape[dim] - count + 1
    total, done, power, size = None, 0, x, 1
    while True:
        if count & size:
            part = power.narrow(dim, done, length)
            total, done = part if total is None else total + part, done + size
        if done == count:
            assert total is not None
            return total
        rest = power.shape[dim] - size
        power, size = power.narrow(dim, 0, rest) + power.narrow(dim, size, rest), 2 * size


class Regression(nn.Module):
    """One local regression, plus its error interpolated bicubically; nothing is trained.

    Args:
        bands_in: Number of bands for each GSD in metres; the coarsest are brought to 10 m.
        radius: See `Fit`.
        ridge: See `Fit`.
    """

    alignment = 1
    """Inputs may start at any pixel of the coarsest grid."""

    def __init__(self, bands_in: Mapping[int, int], radius: int, ridge: float) -> None:
        super().__init__()
        self.coarsest = max(bands_in)
        self.fit = Fit.of(radius, ridge)

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid."""
        return self.fit.reach

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m; arguments and result as in `NativeTrunk.forward`."""
        coarse = reflectance[self.coarsest].float()
        if measured is None:
            measured = torch.ones_like(coarse[:, :1])
        with torch.autocast(coarse.device.type, enabled=False):
            fitted = local_regressions(reflectance, measured, [self.fit])
        missed = bicubic(fitted.missed[:, 0], self.coarsest // FINEST_GSD)
        return fitted.predicted[:, 0] + missed
