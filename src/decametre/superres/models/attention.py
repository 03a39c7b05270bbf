"""Self-attention inside square windows of an image.

With attention over the full image, the result of a pixel would depend on the tiling. Here the
image is divided into windows that start at its first pixel, and a pixel attends to its own window
only. When a product is sharpened, every input starts at a multiple of the network's `alignment`,
counted from the product's origin, so a pixel has the same window in every tile.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START_FACTOR, MAX_FACTOR = 10.0, 100.0
"""Initial and largest factor of the logits in cosine attention."""


class WindowAttention(nn.Module):
    """x + gamma attention(x), the self-attention layer of SAGAN, in windows.

    With f, g, h convolutions of 1 x 1, position j of the result is the sum over all positions i
    of its window of softmax_i(f(x_i) . g(x_j)) h(x_i) (Zhang, Goodfellow et al. 2018, arXiv
    1805.08318, equations 1 to 3). Logits are not divided by the square root of the keys' width.
    gamma is learned and starts at 0, so the layer starts as the identity. Later versions of that
    paper add a 1 x 1 convolution, v, after the sum. If h keeps the full width, v is redundant, so
    it is omitted, as in the first version.

    Args:
        width: Channels of the image.
        key_width: Channels of f and g, at most `width`.
        window: Edge of a window in pixels of the image.
        heads: Number of groups of channels, each with its own softmax (Vaswani et al. 2017, arXiv
            1706.03762, section 3.2.2).
        bias: Whether g and h have biases.
        cosine: Compare directions: f(x_i) and g(x_j) at unit length, times a learned factor for
            each head, which starts at 10 and is limited to 100 (Liu et al. 2022, arXiv 2111.09883,
            section 3.3). The weights of the sum then do not depend on the image's brightness.

    Raises:
        ValueError: A size is invalid.
    """

    def __init__(
        self,
        width: int,
        key_width: int,
        window: int,
        heads: int = 1,
        *,
        bias: bool = True,
        cosine: bool = False,
    ) -> None:
        super().__init__()
        if window < 1 or not 1 <= key_width <= width:
            raise ValueError(
                f"attention needs a window of at least 1 (got {window}) and a key width of 1 to "
                f"{width} (got {key_width})"
            )
        if heads < 1 or width % heads or key_width % heads:
            raise ValueError(
                f"{heads} heads do not divide {width} channels and {key_width} of keys"
            )
        self.window, self.heads = window, heads
        # A bias of the keys would shift all logits of a position equally, and change nothing.
        self.key = nn.Conv2d(width, key_width, 1, bias=False)
        self.query = nn.Conv2d(width, key_width, 1, bias=bias)
        self.value = nn.Conv2d(width, width, 1, bias=bias)
        self.gamma = nn.Parameter(torch.zeros(()))
        self.log_factor = (
            nn.Parameter(torch.full((heads, 1, 1), math.log(START_FACTOR))) if cosine else None
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(batch, width, rows, columns) to the same; rows and columns are multiples of `window`."""
        if torch.compiler.is_compiling():  # an exported graph holds for any number of rows
            batch, _, rows, _ = x_bchw.shape
            windows = torch.unflatten(x_bchw, 2, (rows // self.window, self.window))
            windows = windows.transpose(1, 2).flatten(0, 1)
            windows = windows + self.gamma * self._attend(windows)
            images = torch.unflatten(windows, 0, (batch, rows // self.window))
            return images.transpose(1, 2).flatten(2, 3)
        # One row of windows at a time, because the arrays are as large as their images.
        strips = x_bchw.chunk(x_bchw.shape[2] // self.window, dim=2)
        return torch.cat([x + self.gamma * self._attend(x) for x in strips], dim=2)

    def _attend(self, x_bchw: Tensor) -> Tensor:
        """The sum over each window's positions, for one row of windows."""
        key, query, value = (self._windows(f(x_bchw)) for f in (self.key, self.query, self.value))
        if self.log_factor is not None:
            factor = self.log_factor.exp().clamp(max=MAX_FACTOR)
            key = F.normalize(key, dim=-1).to(value.dtype)
            query = (factor * F.normalize(query, dim=-1)).to(value.dtype)
        # Memory-efficient attention kernels require equal widths. Channels of 0 change no product,
        # and on a CPU the result is also computed six times faster.
        spare = (0, value.shape[-1] - key.shape[-1])
        out = F.scaled_dot_product_attention(
            F.pad(query, spare), F.pad(key, spare), value, scale=1.0
        )
        batch, width, rows, _ = x_bchw.shape
        images = out.transpose(1, 2).reshape(batch, -1, rows, self.window, width)
        return images.permute(0, 4, 2, 1, 3).reshape(x_bchw.shape)

    def _windows(self, x_bchw: Tensor) -> Tensor:
        """One row of windows to (batch x windows, heads, positions of a window, channels)."""
        batch, width, rows, cols = x_bchw.shape
        windows = x_bchw.reshape(batch, width, rows, cols // self.window, self.window)
        positions = windows.permute(0, 3, 2, 4, 1).reshape(
            -1, rows * self.window, self.heads, width // self.heads
        )
        return positions.transpose(1, 2)


def check_whole_windows(image: Tensor, window: int) -> None:
    """Check that an image can be divided into attention windows.

    Args:
        image: (batch, bands, rows, columns) on the coarsest grid.
        window: Edge of a window in pixels of that grid.

    Raises:
        ValueError: Rows or columns are not a multiple of `window`.
    """
    rows, cols = image.shape[-2:]
    if rows % window or cols % window:
        raise ValueError(
            f"the coarsest image has {rows} x {cols} pixels, which is not a multiple of the "
            f"network's attention window of {window} x {window}; crop or pad it"
        )
