"""Does the result, seen through the sensor, give the input again?

The sharpened band is degraded with the sensor's MTF and compared with the band that was measured.
The difference is the consistency residual. Back-projection puts it back into the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.degradation import degrade, inverse_taps, kernel_taps, radius_of, spread

KERNEL = "mtf"
STEPS = 2
"""Back-projection steps. Each leaves at most 5 % of the residual where nothing is missing. The
number is fixed, so that the result does not depend on how the product is cut."""


@dataclass(frozen=True)
class Consistency:
    """The sensor's view of some bands of one scale.

    Args:
        bands: Names of the bands.
        scale: Ratio of their grid to the 10 m grid.
    """

    bands: tuple[str, ...]
    scale: int

    @property
    def taps(self) -> Tensor:
        """The MTF kernel of each band."""
        return kernel_taps(KERNEL, self.bands, self.scale)

    @property
    def reach(self) -> int:
        """How far the kernel reaches beyond a coarse pixel, in whole coarse pixels."""
        return -(-radius_of(self.taps, self.scale) // self.scale)

    def margin(self, steps: int) -> int:
        """Coarse pixels around a window that `steps` back-projections and the residual need."""
        step = 2 * self.reach + (inverse_taps(self.taps, self.scale).shape[1] - 1) // 2
        return steps * step + self.reach

    def residual(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """What the coarse bands have and the degraded fine bands lack.

        Args:
            fine: (batch, bands, rows, columns) on the 10 m grid.
            coarse: The same ground on the coarse grid.

        Returns:
            The shape of `coarse`; within `reach` of the edge it is not exact.
        """
        return coarse - degrade(fine, self.taps, self.scale)

    def project(self, fine: Tensor, coarse: Tensor, valid: Tensor, steps: int = STEPS) -> Tensor:
        """Change the fine bands as little as needed for the residual to vanish.

        Args:
            fine: (batch, bands, rows, columns) on the 10 m grid.
            coarse: The same ground on the coarse grid.
            valid: bool, the shape of `coarse`; elsewhere nothing is asked of the fine bands.
            steps: Number of steps.

        Returns:
            The shape of `fine`; within `margin(steps)` of the edge it is not exact.
        """
        taps = self.taps
        inverse = inverse_taps(taps, self.scale).to(fine)
        edge = radius_of(taps, self.scale)
        for _ in range(steps):
            residual = self.residual(fine, coarse) * valid
            correction = spread(_filter(residual, inverse), taps, self.scale)
            fine = fine + correction[..., edge:-edge, edge:-edge]
        return fine


def _filter(x_bchw: Tensor, weights: Tensor) -> Tensor:
    """Filter rows and columns of each band with its own weights; outside is 0."""
    bands, radius = x_bchw.shape[1], weights.shape[1] // 2
    rows = F.conv2d(x_bchw, weights[:, None, :, None], padding=(radius, 0), groups=bands)
    return F.conv2d(rows, weights[:, None, None, :], padding=(0, radius), groups=bands)


@dataclass
class ResidualSums:
    """Running sums of the consistency residual of several bands.

    Attributes:
        squares: Sum of squared residuals for each band, in reflectance squared.
        values: Sum of the input's reflectance.
        count: Number of coarse pixels.
    """

    squares: Tensor
    values: Tensor
    count: Tensor

    @classmethod
    def zeros(cls, bands: Sequence[str]) -> ResidualSums:
        """Nothing summed yet."""
        return cls(*(torch.zeros(len(bands), dtype=torch.float64) for _ in range(3)))

    @classmethod
    def of(cls, residual: Tensor, coarse: Tensor, valid: Tensor) -> ResidualSums:
        """Sum over one window; all arguments (batch, bands, rows, columns)."""
        axes = (0, 2, 3)
        return cls(
            (residual.double().square() * valid).sum(axes).cpu(),
            (coarse.double() * valid).sum(axes).cpu(),
            valid.double().sum(axes).cpu(),
        )

    def __iadd__(self, other: ResidualSums) -> ResidualSums:
        self.squares += other.squares
        self.values += other.values
        self.count += other.count
        return self
