"""Counts of sharpened pixels far outside the range of the coarse pixels around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 2
"""Coarse pixels up to this distance along each axis define the range."""

ALLOWANCE = 0.05
"""Least tolerance beyond the range, in reflectance. The tolerance is the width of the range, if
that is larger."""


def count_outliers(fine: Tensor, coarse: Tensor, valid: Tensor, scale: int) -> Tensor:
    """Count sharpened pixels far outside the range of the coarse pixels around them.

    Args:
        fine: (1, bands, rows x scale, columns x scale) of reflectance.
        coarse: (1, bands, rows + 2 `REACH`, columns + 2 `REACH`) of the same ground and its
            surroundings.
        valid: bool, (1, bands, rows, columns); pixels without a measurement are not counted.
        scale: Ratio of the grids.

    Returns:
        (bands,), int64, on the CPU.
    """
    edge = 2 * REACH + 1
    highest, lowest = F.max_pool2d(coarse, edge, 1), -F.max_pool2d(-coarse, edge, 1)
    tolerance = (highest - lowest).clamp(min=ALLOWANCE)
    high, low = (x[:, :, :, None, :, None] for x in (highest + tolerance, lowest - tolerance))
    batch, bands, rows, cols = valid.shape
    cells = fine.view(batch, bands, rows, scale, cols, scale)
    outside = (cells > high) | (cells < low)
    outside &= valid[:, :, :, None, :, None]
    return torch.count_nonzero(outside, dim=(0, 2, 3, 4, 5)).cpu()
