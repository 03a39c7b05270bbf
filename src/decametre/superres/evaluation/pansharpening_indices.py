"""Indices of pansharpening, as Ciotola et al. (2025) use them to compare methods for Sentinel-2.

* Q2n (Garzelli and Nencini 2009): the index of Wang and Bovik (2002) for all bands together. The
  bands of a pixel are the components of a hypercomplex number.
* D_lambda (Khan et al. 2009): 1 - Q2n of the measured bands and of the result, degraded to their
  grid with the sensor's MTF. It needs no reference at 10 m.
* D_rho (Scarpa and Ciotola 2022): 1 - local correlation of the result with the 10 m band that is
  most similar there. It needs no reference either.

docs/metrics.md has the formulas and sources.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

BLOCK = 32
"""Edge of the blocks of Q2n, in pixels."""


class RunningMean:
    """The mean of an index over the blocks or pixels of several images.

    Attributes:
        total: Sum of the values.
        count: Number of values.
    """

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, values: Tensor | np.ndarray) -> None:
        """Add values; NaN are ignored."""
        known = np.asarray(values)
        known = known[~np.isnan(known)]
        self.total += float(known.sum(dtype=np.float64))
        self.count += known.size

    @property
    def mean(self) -> float:
        """The mean; NaN without values."""
        return self.total / self.count if self.count else math.nan


def q2n(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Q2n of every block of 32 x 32 pixels; remaining rows and columns are ignored.

    Each band of a block is shifted and scaled so that the truth has mean and standard deviation 1,
    as in the authors' program, so that all bands have the same weight.

    Args:
        image: (bands, rows, columns), in any unit.
        target: The truth, the same shape.
        mask: bool, the same shape: the pixels that may be used.

    Returns:
        (blocks), float64, from 0 to 1; NaN for blocks with a pixel outside the mask, or a band in
        which the truth has no contrast.
    """
    rows = [slice(row, row + BLOCK) for row in range(0, image.shape[1] - BLOCK + 1, BLOCK)]
    found = [
        _of_blocks(*(_blocks(x[:, row]) for x in (image, target, mask)))  # to limit the memory
        for row in rows
    ]
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)


def _blocks(rows: Tensor) -> Tensor:
    """(bands, 32, columns) as (blocks, bands, pixels)."""
    cols = rows.shape[2] // BLOCK
    cells = rows[..., : cols * BLOCK].reshape(len(rows), BLOCK, cols, BLOCK)
    return cells.permute(2, 0, 1, 3).reshape(cols, len(rows), BLOCK**2)


def _of_blocks(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Q2n of blocks, from (blocks, bands, pixels)."""
    x, truth = image.double(), target.double()
    mean, spread = truth.mean(dim=2, keepdim=True), truth.std(dim=2, correction=0, keepdim=True)
    usable = mask.all(dim=2).all(dim=1) & (spread > 1e-6 * mean.abs()).flatten(1).all(dim=1)
    x, truth = ((each - mean) / spread + 1 for each in (x, truth))
    mean_x, mean_truth = x.mean(dim=2), truth.mean(dim=2)
    moments = torch.einsum("nip,njp->nij", truth, x) / truth.shape[2]
    covariance = moments - mean_truth[:, :, None] * mean_x[:, None]
    bands = x.shape[1]
    table = hypercomplex_table(2 ** math.ceil(math.log2(bands)))[:bands, :bands].to(covariance)
    common = torch.einsum("nij,ijk->nk", covariance, table).norm(dim=1)
    variances = sum(each.var(dim=2, correction=0).sum(dim=1) for each in (x, truth))
    squares = mean_x.square().sum(dim=1) + mean_truth.square().sum(dim=1)
    index = 4 * common * mean_x.norm(dim=1) * mean_truth.norm(dim=1) / (variances * squares)
    return torch.where(usable, index, torch.nan)


@functools.cache
def hypercomplex_table(size: int) -> Tensor:
    """Products e_i conj(e_j) of the units of hypercomplex numbers (Cayley-Dickson construction).

    Args:
        size: Number of components, a power of 2: 1 real, 2 complex, 4 quaternions, 8 octonions.

    Returns:
        (size, size, size), float64: component k of the product is at [i, j, k].
    """
    units = np.eye(size)
    return torch.tensor(
        np.array([[_product(a, _conjugate(b)) for b in units] for a in units]), dtype=torch.float64
    )


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a, b)(c, d) = (ac - d* b, da + b c*)."""
    if len(a) == 1:
        return a * b
    (a, b), (c, d) = np.split(a, 2), np.split(b, 2)
    return np.concatenate(
        [
            _product(a, c) - _product(_conjugate(d), b),
            _product(d, a) + _product(b, _conjugate(c)),
        ]
    )


def _conjugate(a: np.ndarray) -> np.ndarray:
    return np.concatenate([a[:1], -a[1:]])


def local_correlation(image: np.ndarray, guides: Sequence[np.ndarray], scale: int) -> np.ndarray:
    """The largest correlation with one of several bands in the window around every pixel.

    Args:
        image: (rows, columns); NaN where there is no data.
        guides: The bands, the same shape.
        scale: Ratio of the grids; windows are 5 x 5 pixels at 2 and 7 x 7 at 6, the odd sizes next
            to the 4 and 6 of Ciotola et al.

    Returns:
        float64, from -1 to 1, without pixels whose window is not complete or without contrast in
        the image or in all guides: NaN.
    """
    edge = max(4, scale) + 1

    def mean(plane: np.ndarray) -> np.ndarray:
        inner = slice(edge // 2, -(edge // 2))
        found: np.ndarray = uniform_filter(plane, edge)[inner, inner]
        return found

    def moments(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shifted = plane.astype(np.float64) - np.nanmean(plane)
        average = mean(shifted)
        return shifted, average, mean(shifted**2) - average**2

    # `uniform_filter` is a running sum, which a NaN would spoil for the rest of the line.
    known = ~np.isnan(np.stack([image, *guides])).any(axis=0)
    filled = [np.where(known, plane, 0) for plane in (image, *guides)]
    (x, mean_x, var_x), *others = map(moments, filled)
    best = np.full(mean_x.shape, np.nan)
    for y, mean_y, var_y in others:
        contrast = (var_x > 1e-12) & (var_y > 1e-12)
        product = np.sqrt(np.where(contrast, var_x * var_y, np.nan))
        best = np.fmax(best, (mean(x * y) - mean_x * mean_y) / product)
    complete = mean(known.astype(np.float64)) > 1 - 0.5 / edge**2
    clipped: np.ndarray = np.where(complete, best.clip(-1, 1), np.nan)
    return clipped
