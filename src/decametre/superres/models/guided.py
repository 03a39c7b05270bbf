"""The guided trunk: local regressions, weighed and refined by a residual trunk on the 20 m grid.

Regressions (`regression.py`) learn from the image itself how coarse and finer bands go together,
each for another kernel by which the coarse bands may have been blurred. The trunk sees all bands
on the 20 m grid, what each regression predicts, and how far it misses the coarse bands once it is
made coarse again. At each pixel it weighs the predictions against one another and against bicubic
interpolation, and adds what all of them lack. So it needs to know no kernel, and little ground is
enough to train it. On the 20 m grid a trunk costs a quarter of what it costs at 10 m, and treats
the pixels inside a 60 m pixel alike, which one on the 60 m grid must learn for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.native import ResidualBlock
from decametre.superres.models.regression import Fit, local_regressions

TRUNK_GSD = 20
"""The grid of the trunk, in metres."""

DETAIL_GAIN = 4.0
"""Factor on what regressions add and miss before the first convolution, beside the network's gain:
it is so much smaller than reflectance."""


class GuidedTrunk(nn.Module):
    """Super-resolution of the coarsest bands by local regressions and a trunk at 20 m.

    Args:
        bands_in: Number of bands for each GSD in metres; the coarsest are brought to 10 m.
        width: Channels of the trunk.
        blocks: Number of residual blocks.
        regressions: Arguments of `Fit` for each regression, at least one.
        gain: Factor on the reflectance before the first convolution; 5 is the DN / 2000 of
            Lanaras et al. (2018).

    Raises:
        ValueError: A size makes no sense.
    """

    alignment = 1
    """Inputs begin at any pixel of the coarsest grid."""

    def __init__(
        self,
        bands_in: Mapping[int, int],
        width: int,
        blocks: int,
        regressions: Sequence[Mapping[str, Any]],
        gain: float = 5.0,
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0 or not regressions:
            raise ValueError(
                f"width {width} and blocks {blocks} must be positive, and regressions be given"
            )
        self.fits = [Fit.of(**settings) for settings in regressions]
        self.gsds = tuple(sorted(bands_in))
        self.coarsest = self.gsds[-1]
        self.blocks_count = blocks
        self.gain = float(gain)
        bands, fine = bands_in[self.coarsest], (TRUNK_GSD // FINEST_GSD) ** 2
        proposals = len(self.fits) * bands
        channels = sum(
            count * (fine if gsd == FINEST_GSD else 1) for gsd, count in bands_in.items()
        )
        # Beside the bands: what regressions add, what they miss, and where there are examples.
        self.head = nn.Conv2d(channels + proposals * (fine + 1) + 1, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        # A weight for each proposal and for none of them, and details.
        self.tail = nn.Conv2d(width, proposals + bands + bands * fine, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid.

        Two convolutions and two a block reach one pixel of 20 m each, and look at regressions.
        """
        convolutions = (2 + 2 * self.blocks_count) * TRUNK_GSD
        return -(-convolutions // self.coarsest) + max(fit.reach for fit in self.fits)

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m.

        Args:
            reflectance: As in `NativeTrunk.forward`.
            measured: Likewise; regressions weigh their examples by it.

        Returns:
            (batch, bands of the coarsest GSD, rows, columns) on the 10 m grid, float32.
        """
        coarse = reflectance[self.coarsest].float()
        factor, fold = self.coarsest // FINEST_GSD, TRUNK_GSD // FINEST_GSD
        if measured is None:
            measured = torch.ones_like(coarse[:, :1])
        start = bicubic(coarse, factor)
        with torch.autocast(coarse.device.type, enabled=False):
            predicted, missed = local_regressions(reflectance, measured, self.fits)
        added = predicted - start[:, None]
        given = [
            self._at_trunk_grid(reflectance[gsd].float(), gsd) * self.gain for gsd in self.gsds
        ]
        detail_gain = self.gain * DETAIL_GAIN
        given += [
            F.pixel_unshuffle(added.flatten(1, 2), fold) * detail_gain,
            self._at_trunk_grid(missed.flatten(1, 2), self.coarsest) * detail_gain,
            self._at_trunk_grid(measured.float(), self.coarsest),
        ]
        features = torch.cat(given, dim=1).contiguous(memory_format=torch.channels_last)
        # As in the native trunk, the first and last layers and the residual are float32.
        with torch.autocast(coarse.device.type, enabled=False):
            features = self.head(features)
        features = self.trunk(features)
        with torch.autocast(coarse.device.type, enabled=False):
            features = self.tail(features.float())
        count, bands = missed.shape[1:3]
        weights, details = features.tensor_split([(count + 1) * bands], dim=1)
        shares = weights.unflatten(1, (count + 1, bands)).softmax(dim=1)
        result = start + F.pixel_shuffle(details, fold) / self.gain
        for index in range(count):  # one after another: they are large at 10 m
            share = shares[:, index].repeat_interleave(fold, dim=2).repeat_interleave(fold, dim=3)
            proposal = added[:, index] + bicubic(missed[:, index], factor)
            result = torch.addcmul(result, share, proposal)
        return result

    def _at_trunk_grid(self, image: Tensor, gsd: int) -> Tensor:
        """An image of any grid on that of the trunk; finer pixels become channels."""
        if gsd < TRUNK_GSD:
            return F.pixel_unshuffle(image, TRUNK_GSD // gsd)
        return bicubic(image, gsd // TRUNK_GSD) if gsd > TRUNK_GSD else image
