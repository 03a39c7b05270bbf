"""The native-grid trunk, which computes on the grid of the coarsest bands.

Finer bands are folded into channels by pixel-unshuffle, residual blocks run on the coarse grid, and
the result is unfolded by pixel-shuffle. This costs a quarter of a trunk of equal width on the 10 m
grid for the 20 m bands, and a 36th for the 60 m bands. The network predicts the difference from
bicubic interpolation of the coarse bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.attention import WindowAttention, check_whole_windows
from decametre.superres.models.bicubic import bicubic


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))). The second convolution starts at 0, so the block is the identity."""

    def __init__(self, width: int, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, width, rows, columns) to the same."""
        change = self.conv2(F.relu_(self.conv1(x_bchw)))
        if change.dtype != x_bchw.dtype:  # in autocast, in which the sum remains float32
            return x_bchw + change
        # In place, since new memory of this size costs a quarter of a convolution.
        return change.add_(x_bchw)


class NativeTrunk(nn.Module):
    """Super-resolution of the coarsest bands by a residual trunk on their own grid.

    Args:
        bands_in: Number of bands for each GSD in metres, such as {10: 4, 20: 6}. The coarsest
            bands are sharpened to 10 m.
        width: Channels of the trunk.
        blocks: Number of residual blocks.
        gain: Factor on the reflectance before the first convolution; 5 is the DN / 2000 of
            Lanaras et al. (2018).
        attention: Window edge of a self-attention layer in the middle of the blocks, in pixels of
            the coarsest grid; 0 for no such layer. It compares directions, see `WindowAttention`.
        heads: Heads of the attention, a divisor of `width`.
        bias: Whether convolutions have biases. If not, the network is exactly equivariant to gain:
            twice the reflectance gives twice the result (Mohan et al. 2020, arXiv 1906.05478,
            section 4).

    Raises:
        ValueError: A size is invalid.
    """

    def __init__(
        self,
        bands_in: Mapping[int, int],
        width: int,
        blocks: int,
        gain: float = 5.0,
        attention: int = 0,
        heads: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError(f"width {width} must be positive and blocks {blocks} not negative")
        self.gsds = tuple(sorted(bands_in))
        self.coarsest = self.gsds[-1]
        self.factor = self.coarsest // FINEST_GSD
        self.blocks_count = blocks
        self.gain = float(gain)
        self.attention = attention
        channels = sum(bands_in[gsd] * (self.coarsest // gsd) ** 2 for gsd in self.gsds)
        outputs = bands_in[self.coarsest] * self.factor**2
        self.head = nn.Conv2d(channels, width, 3, padding=1, bias=bias)
        layers: list[nn.Module] = [ResidualBlock(width, bias) for _ in range(blocks)]
        if attention:
            layers.insert(
                blocks // 2,
                WindowAttention(width, width, attention, heads, bias=bias, cosine=True),
            )
        self.trunk = nn.Sequential(*layers)
        self.tail = nn.Conv2d(width, outputs, 3, padding=1, bias=bias)
        nn.init.zeros_(self.tail.weight)
        if self.tail.bias is not None:
            nn.init.zeros_(self.tail.bias)

    @property
    def alignment(self) -> int:
        """Inputs start at multiples of this number of pixels of the coarsest grid."""
        return max(1, self.attention)

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid, on each side of a pixel.

        Each 3 x 3 convolution adds one pixel, and attention the edge of its window less one.
        Bicubic interpolation needs two pixels.
        """
        return max(2, 2 + 2 * self.blocks_count + self.alignment - 1)

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m.

        Args:
            reflectance: For each GSD, (batch, bands, rows, columns) on that grid, all of the
                same ground, values of order 1.
            measured: (batch, 1, rows, columns) on the coarsest grid, 0 to 1: the share of the
                inputs that was measured and not filled or mirrored. This network ignores it.

        Returns:
            (batch, bands of the coarsest GSD, rows, columns) on the 10 m grid, float32.

        Raises:
            ValueError: The images are not a multiple of the attention windows.
        """
        return self._sharpened(reflectance, self.trunk)

    def _sharpened(
        self, reflectance: Mapping[int, Tensor], trunk: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """See `forward`; `trunk` maps the features of the first layer to those of the last."""
        coarse = reflectance[self.coarsest]
        check_whole_windows(coarse, self.alignment)
        folded = [F.pixel_unshuffle(reflectance[g], self.coarsest // g) for g in self.gsds]
        # The first and last layers and the residual are float32 in autocast. Rounding reflectance
        # to bfloat16 would cost several DN.
        with torch.autocast(coarse.device.type, enabled=False):
            features = self.head(torch.cat(folded, dim=1) * self.gain)
        features = trunk(features)
        with torch.autocast(coarse.device.type, enabled=False):
            features = self.tail(features)
        detail = F.pixel_shuffle(features, self.factor).float() / self.gain
        return bicubic(coarse.float(), self.factor) + detail
