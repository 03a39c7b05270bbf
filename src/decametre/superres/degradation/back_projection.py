"""Back-projection: the smallest change that makes a fine image agree with the coarse one.

A fine image is degraded with the sensor's kernel and subtracted from the measured coarse image.
The difference is filtered with the kernel's inverse on the coarse grid, and distributed over the
fine pixels under the kernel. With an explicit inverse, one step replaces dozens of plain iterations
(Irani and Peleg 1991). All operations are linear and differentiable, so they can be the last layer
of a network or follow one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from decametre.superres.degradation.kernels import INVERSE_RADIUS, degrade, radius_of, spread


def reach_of(taps: Tensor, scale: int) -> int:
    """How far a kernel reaches beyond a coarse pixel, in whole coarse pixels.

    Args:
        taps: From `kernels.kernel_taps`.
        scale: Ratio of the grids.
    """
    return -(-radius_of(taps, scale) // scale)


def margin_of(taps: Tensor, scale: int, steps: int) -> int:
    """How far `steps` steps of `project` reach from a pixel, in coarse pixels."""
    return steps * (2 * reach_of(taps, scale) + INVERSE_RADIUS)


def residual_of(fine: Tensor, coarse: Tensor, taps: Tensor, scale: int) -> Tensor:
    """The coarse bands minus the degraded fine bands.

    Args:
        fine: (batch, bands, rows, columns) on the 10 m grid.
        coarse: The same ground on the coarse grid.
        taps: From `kernels.kernel_taps`, one row per band.
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
    """Change the fine bands by the least amount that removes the residual.

    Args:
        fine: (batch, bands, rows, columns) on the 10 m grid.
        coarse: The same ground on the coarse grid, in the same unit.
        taps: From `kernels.kernel_taps`, one row per band.
        inverse: From `kernels.inverse_taps`, of these taps.
        scale: Ratio of the grids.
        steps: Number of steps. Each leaves at most 5 % of the residual of kernel `mtf`, and a
            ten-thousandth of that of kernel `dsen2`, at any frequency.
        valid: bool, the shape of `coarse`: the coarse pixels that the result must agree with; all
            by default.

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
    """Filter rows and columns of each band with its own weights; pixels outside are 0."""
    bands, radius = x_bchw.shape[1], weights.shape[1] // 2
    rows = F.conv2d(x_bchw, weights[:, None, :, None], padding=(radius, 0), groups=bands)
    return F.conv2d(rows, weights[:, None, None, :], padding=(0, radius), groups=bands)
