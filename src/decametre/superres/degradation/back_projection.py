"""Back-projection: the smallest change that makes a fine image agree with the coarse one.

A fine image is degraded with the sensor's kernel and compared with what was measured; what it
lacks is filtered with the kernel's inverse on the coarse grid and spread over the fine pixels
that the kernel draws from. With an explicit inverse one step does what plain iteration (Irani
and Peleg 1991) needs dozens for. Everything here is linear and differentiable, so it serves as the
last layer of a network as well as after one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from decametre.superres.degradation.kernels import INVERSE_RADIUS, degrade, radius_of, spread


def reach_of(taps: Tensor, scale: int) -> int:
    """How far a kernel reaches beyond a coarse pixel, in whole coarse pixels.

    Args:
        taps: From `degradation.kernel_taps`.
        scale: Ratio of the grids.
    """
    return -(-radius_of(taps, scale) // scale)


def margin_of(taps: Tensor, scale: int, steps: int) -> int:
    """How far `steps` steps of `project` reach from a pixel, in coarse pixels."""
    return steps * (2 * reach_of(taps, scale) + INVERSE_RADIUS)


def residual_of(fine: Tensor, coarse: Tensor, taps: Tensor, scale: int) -> Tensor:
    """What the coarse bands have and the degraded fine bands lack.

    Args:
        fine: (batch, bands, rows, columns) on the 10 m grid.
        coarse: The same ground on the coarse grid.
        taps: From `degradation.kernel_taps`, one row a band.
        scale: Ratio of the grids.

    Returns:
        The shape of `coarse`; within `reach_of` of the edge it is not exact.
    """
    return coarse - degrade(fine, taps, scale)


def project(
    fine: Tensor,
    coarse: Tensor,
    taps: Tensor,
    inverse: Tensor,
    scale: int,
    steps: int,
    valid: Tensor | None = None,
) -> Tensor:
    """Change the fine bands as little as needed for the residual to vanish.

    Args:
        fine: (batch, bands, rows, columns) on the 10 m grid.
        coarse: The same ground on the coarse grid, in the same unit.
        taps: From `degradation.kernel_taps`, one row a band.
        inverse: From `degradation.inverse_taps`, of these taps.
        scale: Ratio of the grids.
        steps: Number of steps. Each leaves at most 5 % of the residual of kernel `mtf`, and a
            ten-thousandth of that of kernel `dsen2`, at any frequency.
        valid: bool, the shape of `coarse`; elsewhere nothing is asked of the fine bands. All
            pixels count by default.

    Returns:
        The shape of `fine`; within `margin_of` of the edge it is not exact.
    """
    inverse = inverse.to(fine)
    edge = radius_of(taps, scale)
    for _ in range(steps):
        residual = residual_of(fine, coarse, taps, scale)
        if valid is not None:
            residual = residual * valid
        correction = spread(_filter(residual, inverse), taps, scale)
        fine = fine + correction[..., edge:-edge, edge:-edge]
    return fine


def _filter(x_bchw: Tensor, weights: Tensor) -> Tensor:
    """Filter rows and columns of each band with its own weights; outside is 0."""
    bands, radius = x_bchw.shape[1], weights.shape[1] // 2
    rows = F.conv2d(x_bchw, weights[:, None, :, None], padding=(radius, 0), groups=bands)
    return F.conv2d(rows, weights[:, None, None, :], padding=(0, radius), groups=bands)
