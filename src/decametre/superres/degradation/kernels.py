"""Wald's protocol: from a fine image to the coarse one that the sensor would have taken.

Two kernels, both separable, both followed by sampling on the coarse grid:

* `dsen2` (Lanaras et al. 2018): a Gaussian of standard deviation 1/s pixels of the fine grid,
  then the mean of s x s pixels. The published figures use it. It is strongly aliased at 6x.
* `mtf`: a Gaussian matched to the modulation transfer function (MTF) that the sensor has in each
  band, sampled at the centres of the coarse pixels.

For `mtf`, the fine image is assumed to come from the same instrument with proportionally smaller
pixels, so it is already blurred, with gain G at *its* Nyquist frequency (G is the band's `mtf`).
The kernel adds only the rest, so that the blurs of image and kernel *together* have gain G
at the Nyquist frequency of the *coarse* grid. With Gaussians, variances add: an MTF of
exp(-2 pi^2 sigma^2 f^2) that is G at f = 1/2 per pixel has sigma1^2 = -2 ln(G) / pi^2 pixels^2, a
pixel s times larger has s^2 sigma1^2, so the kernel has (s^2 - 1) sigma1^2.

For training, `random_taps` chooses kernels at random. No product's kernel is known exactly, and a
network that was trained with many kernels works with any of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.errors import UnknownNameError
from decametre.options import KERNELS
from decametre.sentinel2.bands import ALL_BANDS

TRUNCATE = 4.0
"""Gaussians are cut off at this many standard deviations."""

GAIN_SPREAD = 0.12
"""Largest difference of the random gains of one product's bands from their centre."""

SQUARE_SHARE = 0.5
"""Share of the random kernels that are steeper than a Gaussian: a square blurred by a Gaussian."""

NARROWEST_SQUARE = 0.3
"""Edge in coarse pixels of the smallest square of such a kernel; the largest is 1."""

INVERSE_RADIUS = 4
"""Reach of `inverse_taps` in coarse pixels. With 4, a back-projection step leaves at most 5 % of
the residual at any frequency, in any band at its own scale."""


def kernel_taps(kernel: str, bands: Sequence[str], scale: int) -> Tensor:
    """The one-dimensional weights of a coarse pixel's fine pixels.

    Args:
        kernel: `dsen2` or `mtf`.
        bands: Band names; each band has its own weights.
        scale: Ratio s of the two grids, an integer above 1.

    Returns:
        (bands, s + 2 r), float64, each row sums to 1. The middle s weights fall on the coarse
        pixel's own cell, r on each side of it.

    Raises:
        UnknownNameError: There is no such kernel.
    """
    if kernel == "dsen2":
        sigma = 1 / scale
        radius = max(1, round(TRUNCATE * sigma))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        gauss = torch.exp(-0.5 * (offsets / sigma) ** 2)
        gauss /= gauss.sum()
        box = torch.ones(scale, dtype=torch.float64) / scale
        taps = F.conv1d(box[None, None], gauss[None, None], padding=2 * radius)[0, 0]
        return taps.expand(len(bands), -1).clone()
    if kernel == "mtf":
        return mtf_taps([ALL_BANDS[band].mtf for band in bands], scale)
    raise UnknownNameError("degradation kernel", kernel, KERNELS)


def mtf_taps(gains: Sequence[float], scale: int) -> Tensor:
    """The weights of kernel `mtf` for bands with these gains at their own Nyquist frequency.

    Args:
        gains: Gain of each band, between 0 and 1.
        scale: Ratio of the grids.

    Returns:
        As `kernel_taps`.
    """
    sigmas = [math.sqrt((scale**2 - 1) * -2 * math.log(gain)) / math.pi for gain in gains]
    radius = max(1, math.ceil(TRUNCATE * max(sigmas) - scale / 2))
    length = scale + 2 * radius
    offsets = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    taps = torch.exp(-0.5 * (offsets / torch.tensor(sigmas, dtype=torch.float64)[:, None]) ** 2)
    return taps / taps.sum(dim=1, keepdim=True)


def blurred_square_taps(gain: float, square: float, scale: int, radius: int) -> Tensor:
    """The weights of a square aperture blurred by a Gaussian.

    Args:
        gain: At the Nyquist frequency of the coarse grid, between 0 and 1.
        square: Edge of the aperture in coarse pixels, 0 to 1; 0 is a Gaussian. An aperture whose
            own gain is less than `gain` is reduced.
        scale: Ratio of the grids.
        radius: Fine pixels on each side of the coarse pixel's own cell.

    Returns:
        (scale + 2 radius), float64, of sum 1.
    """
    while square > 0 and np.sinc(square / 2) <= gain:
        square = square * 0.9 if square > 0.05 else 0.0
    # exp(-2 pi^2 sigma^2 f^2) at f = 1 / (2 scale) times the aperture's sinc(square / 2) is `gain`.
    sigma = scale / math.pi * math.sqrt(2 * math.log(np.sinc(square / 2) / gain))
    length = scale + 2 * radius
    offsets = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    if square:
        half = square * scale / 2
        taps = torch.erf((offsets + half) / (sigma * math.sqrt(2)))
        taps = taps - torch.erf((offsets - half) / (sigma * math.sqrt(2)))
    else:
        taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return taps / taps.sum()


def random_taps(
    bands_in: Mapping[int, Sequence[str]],
    scale: int,
    gains: tuple[float, float],
    random: np.random.Generator,
) -> dict[int, Tensor]:
    """Random kernels of one instrument: a gain for each band, and one shape for all.

    Args:
        bands_in: Band names for each GSD.
        scale: Ratio of the grids.
        gains: Least and greatest gain at the coarse Nyquist frequency.
        random: Random number generator.

    Returns:
        For each GSD, weights as from `kernel_taps`. All have the same radius.
    """
    low, high = gains
    widest = scale / math.pi * math.sqrt(-2 * math.log(low))
    radius = max(1, math.ceil(TRUNCATE * widest - scale / 2))
    centre = random.uniform(low, high)
    steep = random.random() < SQUARE_SHARE
    square = random.uniform(NARROWEST_SQUARE, 1) if steep else 0.0
    taps = {}
    for gsd, names in bands_in.items():
        drawn = random.uniform(centre - GAIN_SPREAD, centre + GAIN_SPREAD, len(names))
        rows = [
            blurred_square_taps(float(gain), square, scale, radius)
            for gain in drawn.clip(low, high)
        ]
        taps[gsd] = torch.stack(rows)
    return taps


def radius_of(taps: Tensor, scale: int) -> int:
    """How many fine pixels the kernel reaches beyond a coarse pixel's own cell."""
    return (taps.shape[1] - scale) // 2


def mirrored(x_bchw: Tensor, beyond: Sequence[int]) -> Tensor:
    """An image reflected at its edges, edge pixels included.

    Grids of different GSD stay consistent: the mean of mirrored fine pixels is the mirrored coarse
    pixel.

    Args:
        x_bchw: (batch, bands, rows, columns).
        beyond: Pixels to add left, right, above and below.
    """
    left, right, above, below = beyond
    for dim, before, after in ((2, above, below), (3, left, right)):
        size = x_bchw.shape[dim]
        places = _mirrored_indices(size, before, after, x_bchw.device)
        # Only the edges are gathered, because gathering columns is slow.
        first, last = (
            x_bchw.index_select(dim, part) for part in (places[:before], places[before + size :])
        )
        x_bchw = torch.cat([first, x_bchw, last], dim=dim)
    return x_bchw


def _mirrored_indices(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Indices of a line of pixels that is reflected at its ends, as often as needed."""
    position = torch.arange(-before, size + after, device=device)
    period = position.new_full((), 2 * size)  # a tensor, since ONNX divides by no symbolic number
    position = position % period
    return torch.minimum(position, period - 1 - position)


def crop_mirrored(x_bhw: Tensor, row: int, col: int, rows: int, cols: int) -> Tensor:
    """Crop a window of an image, which is mirrored at its edges as in `mirrored`.

    Args:
        x_bhw: (bands, rows, columns).
        row: First row of the window; may be negative.
        col: First column, likewise.
        rows: Number of rows.
        cols: Number of columns.
    """
    height, width = x_bhw.shape[-2:]
    part = x_bhw[:, max(0, row) : row + rows, max(0, col) : col + cols]
    beyond = (max(0, -row), max(0, row + rows - height)), (max(0, -col), max(0, col + cols - width))
    if not any(map(any, beyond)):
        return part
    return torch.from_numpy(np.pad(part.numpy(), ((0, 0), *beyond), mode="symmetric"))


def degrade(x_bchw: Tensor, taps: Tensor, scale: int, *, pad: bool = True) -> Tensor:
    """Bring an image to a grid `scale` times coarser.

    Args:
        x_bchw: (batch, bands, rows, columns), any unit.
        taps: From `kernel_taps`, one row per band.
        scale: Ratio of the grids.
        pad: Mirror the image where the kernel reaches beyond it. If False, the result has only the
            coarse pixels whose kernel is inside the image: pass r more fine pixels on each side.

    Returns:
        (batch, bands, rows / scale, columns / scale), the dtype of `x_bchw`.
    """
    bands = x_bchw.shape[1]
    taps = taps.to(x_bchw)
    if pad:
        x_bchw = mirrored(x_bchw, [radius_of(taps, scale)] * 4)
    rows = F.conv2d(x_bchw, taps[:, None, :, None], stride=(scale, 1), groups=bands)
    return F.conv2d(rows, taps[:, None, None, :], stride=(1, scale), groups=bands)


def spread(x_bchw: Tensor, taps: Tensor, scale: int) -> Tensor:
    """The transpose of `degrade` without padding, times scale^2.

    Distributes every coarse value over the fine pixels under its kernel. The result has r more
    fine pixels on each side than the coarse pixels' cells.

    Args:
        x_bchw: (batch, bands, rows, columns) on the coarse grid.
        taps: From `kernel_taps`, one row per band.
        scale: Ratio of the grids.
    """
    bands = x_bchw.shape[1]
    taps = taps.to(x_bchw) * scale
    rows = F.conv_transpose2d(x_bchw, taps[:, None, :, None], stride=(scale, 1), groups=bands)
    return F.conv_transpose2d(rows, taps[:, None, None, :], stride=(1, scale), groups=bands)


def inverse_taps(taps: Tensor, scale: int, radius: int = INVERSE_RADIUS) -> Tensor:
    """One-dimensional weights on the coarse grid that invert `degrade(spread(.))`.

    Applied along rows and columns between `degrade` and `spread`, they make one back-projection
    step nearly exact. The kernel damps details near the Nyquist frequency, which would otherwise
    take many steps.

    Args:
        taps: From `kernel_taps`.
        scale: Ratio of the grids.
        radius: Weights beyond this number of coarse pixels are dropped.

    Returns:
        (bands, 2 radius + 1), float64.
    """
    bands, length = taps.shape
    shifts = range(-(length // scale), length // scale + 1)
    padded = F.pad(taps, [length + scale, length + scale])
    columns = [
        (taps * padded[:, length + scale + k * scale :][:, :length]).sum(dim=1) for k in shifts
    ]
    # The response of `degrade(spread(.))` to a single coarse pixel, on a ring too wide to overlap.
    ring = torch.zeros(bands, 64, dtype=torch.float64)
    for k, column in zip(shifts, columns, strict=True):
        ring[:, k % 64] = column * scale
    inverse = torch.fft.ifft(1 / torch.fft.fft(ring)).real
    return torch.cat([inverse[:, -radius:], inverse[:, : radius + 1]], dim=1)
