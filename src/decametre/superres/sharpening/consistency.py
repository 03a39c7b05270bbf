"""Consistency of the result with the input.

A sharpened band is degraded with the sensor's MTF and compared with the measured band. The
difference is the consistency residual. Back-projection adds it to the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decametre.superres.degradation.back_projection import margin_of, project, reach_of, residual_of
from decametre.superres.degradation.kernels import inverse_taps, kernel_taps

KERNEL = "mtf"
STEPS = 2
"""Back-projection steps. Each leaves at most 5 % of the residual where nothing is missing. The
number is fixed, so that the result does not depend on the tiling."""


@dataclass(frozen=True)
class Consistency:
    """The consistency check of several bands of one scale.

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

    def margin(self, steps: int) -> int:
        """Coarse pixels around a window that `steps` back-projections and the residual need."""
        return margin_of(self.taps, self.scale, steps) + reach_of(self.taps, self.scale)

    def residual(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The coarse bands minus the degraded fine bands.

        Args and result as in `back_projection.residual_of`.
        """
        return residual_of(fine, coarse, self.taps, self.scale)

    def project(self, fine: Tensor, coarse: Tensor, valid: Tensor, steps: int = STEPS) -> Tensor:
        """Change the fine bands by the least amount that removes the residual.

        Args and result as in `back_projection.project`.
        """
        inverse = inverse_taps(self.taps, self.scale)
        return project(fine, coarse, self.taps, inverse, self.scale, steps, valid)


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
        """Sums over no pixels."""
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
