"""A consistency layer behind a network: degraded, its result is the coarse bands that went in.

As part of the network it is there when the network learns, which then spends nothing on what the
input says already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from decametre.superres.degradation.back_projection import margin_of, project
from decametre.superres.degradation.kernels import inverse_taps, kernel_taps

STEPS = 1
"""Back-projection steps. The time is nothing beside a network's, but each step widens the margin
by 6 to 8 coarse pixels, and one leaves at most 5 % of a residual that is small to begin with."""


class Projected(nn.Module):
    """A network whose result is projected; see `back_projection.project`.

    Pixels that were filled because nothing was measured there count as measured.

    Args:
        network: Maps `{gsd: reflectance}` to the coarsest bands at 10 m.
        kernel: The degradation that is to give the coarse bands again: `dsen2` or `mtf`.
        bands: Names of the coarsest bands, in the order of the channels.
        scale: Ratio of their grid to the 10 m grid.
        steps: Number of back-projection steps.

    Raises:
        UnknownNameError: No such kernel.
    """

    def __init__(
        self,
        network: nn.Module,
        kernel: str,
        bands: Sequence[str],
        scale: int,
        steps: int = STEPS,
    ) -> None:
        super().__init__()
        self.taps: Tensor
        self.inverse: Tensor
        self.network = network
        self.scale, self.steps = scale, steps
        taps = kernel_taps(kernel, bands, scale)
        # Not persistent: the card names the kernel.
        self.register_buffer("taps", taps.float(), persistent=False)
        self.register_buffer("inverse", inverse_taps(taps, scale).float(), persistent=False)

    @property
    def margin(self) -> int:
        """Receptive field of network and projection, in pixels of the coarsest grid."""
        return int(self.network.margin) + margin_of(self.taps, self.scale, self.steps)  # type: ignore[arg-type]

    @property
    def alignment(self) -> int:
        """That of the network."""
        return int(self.network.alignment)  # type: ignore[arg-type]

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """(batch, bands, rows, columns) at 10 m, float32; see `NativeTrunk.forward`."""
        fine = self.network(reflectance, measured)
        # Differences of nearly equal numbers: bfloat16 would leave nothing of them.
        with torch.autocast(fine.device.type, enabled=False):
            coarse = reflectance[max(reflectance)].float()
            return project(fine.float(), coarse, self.taps, self.inverse, self.scale, self.steps)
