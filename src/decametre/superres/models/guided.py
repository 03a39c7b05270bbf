"""The guided trunk: local regressions, weighted and refined by a residual trunk on the 20 m grid.

Regressions (`regression.py`) learn from the image itself how coarse bands depend on finer bands,
each with a different blur of the coarse bands. The inputs of the trunk are all bands on the 20 m
grid, the predictions of the regressions, and the predictions' errors on the coarse grid. At each
pixel, the trunk computes a weighted mean of the predictions and of bicubic interpolation, and adds
the remaining detail. So no kernel has to be known, and few training data are enough. A trunk on the
20 m grid costs a quarter of one at 10 m. Unlike a trunk on the 60 m grid, it has the same weights
for all pixels inside a 60 m pixel.
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
"""Additional factor on the detail and errors of regressions before the first convolution, since
they are smaller than reflectance."""


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
        ValueError: A size is invalid.
    """

    alignment = 1
    """Inputs may start at any pixel of the coarsest grid."""

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
                f"width {width} must be positive, blocks {blocks} not negative, and regressions "
                "not empty"
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
        # After the bands: the regressions' detail and errors, and the measured share.
        self.head = nn.Conv2d(channels + proposals * (fine + 1) + 1, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        # A weight for each proposal and for bicubic interpolation, and details.
        self.tail = nn.Conv2d(width, proposals + bands + bands * fine, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid.

        Each convolution (two, and two per block) adds one 20 m pixel; the regressions add their
        own reach.
        """
        convolutions = (2 + 2 * self.blocks_count) * TRUNK_GSD
        return -(-convolutions // self.coarsest) + max(fit.reach for fit in self.fits)

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """Bring the coarsest bands to 10 m.

        Args:
            reflectance: As in `NativeTrunk.forward`.
            measured: Likewise; the weights of the regressions' examples.

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
        for index in range(count):  # in a loop, because they are large at 10 m
            share = shares[:, index].repeat_interleave(fold, dim=2).repeat_interleave(fold, dim=3)
            proposal = added[:, index] + bicubic(missed[:, index], factor)
            result = torch.addcmul(result, share, proposal)
        return result

    def _at_trunk_grid(self, image: Tensor, gsd: int) -> Tensor:
        """An image on the trunk's grid; finer pixels become channels."""
        if gsd < TRUNK_GSD:
            return F.pixel_unshuffle(image, TRUNK_GSD // gsd)
        return bicubic(image, gsd // TRUNK_GSD) if gsd > TRUNK_GSD else image
