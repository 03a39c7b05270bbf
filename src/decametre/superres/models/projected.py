"""A consistency layer after a network: its degraded result equals the coarse input bands.

As a part of the network it is also used in training, so the network only learns detail that the
input does not determine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from decametre.superres.degradation.back_projection import margin_of, project
from decametre.superres.degradation.kernels import inverse_taps, kernel_taps

STEPS = 1
"""Back-projection steps. A step takes little time, but adds 6 to 8 coarse pixels to the margin. One
step leaves at most 5 % of the residual, which is small before."""


class Projected(nn.Module):
    """A network whose result is projected; see `back_projection.project`.

    Pixels that were filled because nothing was measured there count as measured.

    Args:
        network: Maps `{gsd: reflectance}` to the coarsest bands at 10 m.
        kernel: Degradation kernel that must reproduce the coarse bands: `dsen2` or `mtf`.
        bands: Names of the coarsest bands, in the order of the channels.
        scale: Ratio of their grid to the 10 m grid.
        steps: Number of back-projection steps.

    Raises:
        UnknownNameError: There is no such kernel.
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
        # Not persistent, since the card names the kernel.
        self.register_buffer("taps", taps.float(), persistent=False)
        self.register_buffer("inverse", inverse_taps(taps, scale).float(), persistent=False)

    @property
    def margin(self) -> int:
        """Receptive field of network and projection, in pixels of the coarsest grid."""
        return int(self.network.margin) + margin_of(self.taps, self.scale, self.steps)  # type: ignore[arg-type]

    @property
    def alignment(self) -> int:
        """Alignment of the network."""
        return int(self.network.alignment)  # type: ignore[arg-type]

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """(batch, bands, rows, columns) at 10 m, float32; see `NativeTrunk.forward`."""
        fine = self.network(reflectance, measured)
        # Differences of nearly equal numbers are below the precision of bfloat16.
        with torch.autocast(fine.device.type, enabled=False):
            coarse = reflectance[max(reflectance)].float()
            return project(fine.float(), coarse, self.taps, self.inverse, self.scale, self.steps)
