"""The networks S2x and S6x of Zhang, Cavallaro and Jitsev (IGARSS 2020): residual self-attention.

Coarse bands are interpolated to the 10 m grid. A band fusion module computes features of all bands,
six residual blocks with a self-attention module in their middle refine them, and the network
predicts the difference from bilinear interpolation (equations 1 to 7, Fig. 1 and 2).

The paper does not specify some details, which are as follows here:

* **Band fusion** (Fig. 2b): each grid's bands have a branch (mean shift, 3 x 3 convolution, ReLU);
  a 3 x 3 convolution and ReLU join them. The paper only names branches and mean shift.
* **Mean shift** subtracts a fixed mean from each band, as `MeanShift` in EDSR (Lim et al. 2017,
  arXiv 1707.02921), the source of the term. The caption could also mean the mean of each patch, but
  then patches would have steps at their borders, and the result would depend on the tiling.
* **Residual block**: that of DSen2: convolution, ReLU, convolution, times 0.1.
* **Attention** has windows of the size of a training patch of DSen2: 16 x 16 coarse pixels, or
  32 x 32 pixels of 10 m at 2x and 96 x 96 at 6x. See `attention.WindowAttention`.
* **Scale of the input** (DN / 2000) and initial weights (He uniform) are those of DSen2. The 1 x 1
  convolutions of the attention are not followed by a ReLU and keep torch's smaller initial weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.attention import WindowAttention, check_whole_windows
from decametre.superres.models.bicubic import enlarge
from decametre.superres.models.dsen2 import DSen2Block, conv3x3

MEANS = {
    10: (0.114, 0.113, 0.113, 0.210),
    20: (0.134, 0.189, 0.214, 0.229, 0.196, 0.139),
    60: (0.126, 0.115),
}
"""Mean reflectance of each GSD's bands, in the order of `bands.bands_at`, over the 50 Level-1C and
Level-2A training products of the shipped models, with equal weights."""


class ResidualSelfAttention(nn.Module):
    """Super-resolution of the coarsest bands by a residual trunk with self-attention.

    Args:
        bands_in: Number of bands for each GSD in metres; the coarsest are brought to 10 m.
        width: Channels of the trunk.
        blocks: Number of residual blocks; the attention follows the first half of them.
        key_width: Channels of f and g in the attention.
        window: Edge of an attention window in pixels of the coarsest grid. Patches for training
            must be a multiple of it.
        gain: Factor on the shifted reflectance before the first convolution: DN / 2000.
        means: Mean reflectance of each band, finest GSD first; `MEANS` by default.

    Raises:
        ValueError: There is not one mean for each band, or a size of the attention is invalid.
    """

    def __init__(
        self,
        bands_in: Mapping[int, int],
        width: int = 128,
        blocks: int = 6,
        key_width: int = 16,
        window: int = 16,
        gain: float = 5.0,
        means: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.means: Tensor
        self.gsds = tuple(sorted(bands_in))
        self.coarsest = self.gsds[-1]
        self.factor = self.coarsest // FINEST_GSD
        self.blocks_count, self.window, self.gain = blocks, window, float(gain)
        if means is None:
            means = [mean for gsd in self.gsds for mean in MEANS.get(gsd, ())]
        counts = [bands_in[gsd] for gsd in self.gsds]
        if len(means) != sum(counts):
            raise ValueError(
                f"there are {len(means)} means for {sum(counts)} bands; give one for each band"
            )
        # Not persistent, since they are part of the card's configuration.
        self.register_buffer("means", torch.tensor(means)[:, None, None], persistent=False)
        self.branches = nn.ModuleList(conv3x3(count, width) for count in counts)
        self.fuse = conv3x3(width * len(counts), width)
        before = blocks // 2
        self.trunk = nn.Sequential(
            *(DSen2Block(width) for _ in range(before)),
            WindowAttention(width, key_width, window * self.factor),
            *(DSen2Block(width) for _ in range(blocks - before)),
        )
        self.tail = conv3x3(width, bands_in[self.coarsest])

    @property
    def alignment(self) -> int:
        """Inputs start at multiples of this number of pixels of the coarsest grid."""
        return self.window

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid, on each side of a pixel.

        At 10 m, one pixel for each 3 x 3 convolution (branch, fusion, tail, two per block), and the
        edge of the attention window less one. This is rounded up to the coarsest grid, and the
        interpolation adds one pixel.
        """
        reach = 3 + 2 * self.blocks_count + self.window * self.factor - 1
        return 1 + -(-reach // self.factor)

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m; shapes as in `NativeTrunk.forward`.

        Raises:
            ValueError: The images are not a multiple of the attention windows.
        """
        check_whole_windows(reflectance[self.coarsest], self.window)
        fine = [
            enlarge(reflectance[gsd].float(), gsd // FINEST_GSD, "bilinear") for gsd in self.gsds
        ]
        means = self.means.split_with_sizes([image.shape[1] for image in fine])
        fused = [
            F.relu(branch((image - mean) * self.gain))
            for branch, image, mean in zip(self.branches, fine, means, strict=True)
        ]
        features = F.relu(self.fuse(torch.cat(fused, dim=1)))
        return fine[-1] + self.tail(self.trunk(features)).float() / self.gain
