"""DSen2 (Lanaras et al. 2018, arXiv 1803.04271, Fig. 3), the reference of other networks.

The coarse bands are interpolated to the 10 m grid, on which all convolutions run.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.bicubic import enlarge

RESIDUAL_SCALING = 0.1


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3 x 3 convolution with zero padding, and He uniform initial weights as in DSen2."""
    if outputs < 1:
        raise ValueError(f"width {outputs} must be positive")
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class DSen2Block(nn.Module):
    """x + 0.1 conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(width, width)
        self.conv2 = conv3x3(width, width)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, width, rows, columns) to the same."""
        return x_bchw + RESIDUAL_SCALING * self.conv2(F.relu(self.conv1(x_bchw)))


class DSen2(nn.Module):
    """Super-resolution of the coarsest bands by a residual trunk on the 10 m grid.

    Args:
        bands_in: Number of bands for each GSD in metres; the coarsest are brought to 10 m.
        width: Channels of the trunk; 128, and 256 for VDSen2.
        blocks: Number of residual blocks; 6, and 32 for VDSen2.
        gain: Factor on the reflectance before the first convolution: DN / 2000.
    """

    alignment = 1
    """Inputs may start at any pixel of the coarsest grid."""

    def __init__(
        self, bands_in: Mapping[int, int], width: int = 128, blocks: int = 6, gain: float = 5.0
    ) -> None:
        super().__init__()
        self.gsds = tuple(sorted(bands_in))
        self.coarsest = self.gsds[-1]
        self.blocks_count = blocks
        self.gain = float(gain)
        self.head = conv3x3(sum(bands_in.values()), width)
        self.trunk = nn.Sequential(*(DSen2Block(width) for _ in range(blocks)))
        self.tail = conv3x3(width, bands_in[self.coarsest])

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid.

        Each convolution (two, and two per block) adds one 10 m pixel, and interpolation adds one
        coarse pixel.
        """
        reach = 2 + 2 * self.blocks_count
        return 1 + -(-reach // (self.coarsest // FINEST_GSD))

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m; shapes as in `NativeTrunk.forward`."""
        fine = {
            gsd: enlarge(reflectance[gsd].float(), gsd // FINEST_GSD, "bilinear")
            for gsd in self.gsds
        }
        features = F.relu(self.head(torch.cat([fine[gsd] for gsd in self.gsds], dim=1) * self.gain))
        detail = self.tail(self.trunk(features)).float() / self.gain
        return fine[self.coarsest] + detail
