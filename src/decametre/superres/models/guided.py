"""The guided trunk: local regressions, weighted and refined by a residual trunk on the 20 m grid.

Regressions (`regression.py`) learn from the image itself how the 60 m bands follow the finer bands,
each for a different kernel by which the 60 m bands may have been blurred. The trunk receives all
bands on the 20 m grid, the prediction of each regression, and the error that remains when the
prediction is degraded to 60 m. At each pixel it weights the predictions against one another and
against bicubic interpolation, and adds details that all of them lack. So the network needs no known
kernel, and little training data.

Everything but the last step runs on the 20 m grid, at a quarter of the cost of the 10 m grid. The
last step adds the details of the 10 m bands inside each 20 m pixel, with the slopes of the same
weighted regressions, and the details of the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.bicubic import bicubic, enlarge
from decametre.superres.models.native import ResidualBlock
from decametre.superres.models.regression import MIN_WEIGHT, Fit, box_sum, local_regressions

TRUNK_GSD = 20
"""The grid of the trunk, in metres."""

FOLD = TRUNK_GSD // FINEST_GSD
"""Edge of a pixel of the trunk's grid in 10 m pixels."""

DETAIL_GAIN = 4.0
"""Factor on what regressions add and miss before the first convolution, in addition to the
network's gain, because it is much smaller than reflectance."""

INTERPOLATION_REACH = 3
"""Reach of bicubic interpolations to the trunk's grid (2) and to 10 m (less than 1), in coarse
pixels."""

ERROR_RADIUS = 4
"""Radius of the window over which the errors of regressions are averaged, in coarse pixels."""

ERROR_FLOOR = 1e-8
"""Mean square error below which regressions count as equally good, in reflectance squared."""

SELECTIVITY = 4.0
"""Start of the factor by which excess errors reduce the logarithm of a regression's weight."""

BICUBIC_EXCESS = 1.0
"""What counts as the excess error of bicubic interpolation, which has none by construction."""


def excess_errors(missed: Tensor, measured: Tensor) -> Tensor:
    """How much worse each regression fits than the best one, averaged over a window.

    A regression whose kernel is wrong misses the coarse bands by more; a window shows it more
    reliably than one pixel.

    Args:
        missed: (batch, fits, bands, rows, columns), see `regression.FittedRegressions`.
        measured: (batch, 1, rows, columns), the weights of the pixels.

    Returns:
        Natural logarithm of the ratio of root mean square errors, 0 for the best regression; the
        shape of `missed`.
    """
    weight = measured.float().clamp(min=MIN_WEIGHT)
    squares = (missed.square() * weight[:, None]).flatten(1, 2)
    mean = box_sum(squares, ERROR_RADIUS) / box_sum(weight, ERROR_RADIUS)
    logs = (mean.reshape(missed.shape) + ERROR_FLOOR).log() / 2
    return logs - logs.amin(dim=1, keepdim=True)


class GuidedTrunk(nn.Module):
    """Super-resolution of the 60 m bands by local regressions and a trunk on the 20 m grid.

    Args:
        bands_in: Number of bands for 10, 20 and 60 m; the 60 m bands are brought to 10 m.
        width: Channels of the trunk.
        blocks: Number of residual blocks.
        regressions: Arguments of `Fit` for each regression, at least one.
        gain: Factor on the reflectance before the first convolution; 5 is the DN / 2000 of
            Lanaras et al. (2018).

    Raises:
        ValueError: A size is invalid, or `bands_in` has other grids.
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
        if sorted(bands_in) != [FINEST_GSD, TRUNK_GSD, 60]:
            raise ValueError(f"it brings 60 m bands to 10 m, and cannot use {sorted(bands_in)} m")
        self.fits = [Fit.of(**settings) for settings in regressions]
        self.coarsest = max(bands_in)
        self.blocks_count = blocks
        self.gain = float(gain)
        bands = bands_in[self.coarsest]
        proposals = len(self.fits) * bands
        channels = bands_in[FINEST_GSD] * FOLD**2 + bands_in[TRUNK_GSD] + bands
        # In addition: what regressions add, what they miss here and in a wide window, and where
        # there are examples.
        self.head = nn.Conv2d(channels + 3 * proposals + 1, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        # A weight for each proposal and for bicubic interpolation, and details.
        self.tail = nn.Conv2d(width, proposals + bands + bands * FOLD**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)
        self.selectivity = nn.Parameter(torch.tensor(SELECTIVITY))

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid.

        Two convolutions and two in each block reach one pixel of 20 m each, and use regressions;
        the window of their errors and the bicubic interpolation to 10 m (less than one pixel) add
        theirs.
        """
        return self._trunk_reach + max(fit.reach for fit in self.fits) + ERROR_RADIUS + 1

    @property
    def _trunk_reach(self) -> int:
        """Reach of the convolutions in pixels of the coarsest grid."""
        return -(-(2 + 2 * self.blocks_count) * TRUNK_GSD // self.coarsest)

    def forward(
        self,
        reflectance: Mapping[int, Tensor],
        measured: Tensor | None = None,
        unused: int = 0,
    ) -> Tensor:
        """Bring the coarsest bands to 10 m.

        Args:
            reflectance: As in `NativeTrunk.forward`.
            measured: Likewise; the weights of the regressions' examples.
            unused: Number of pixels of the coarsest grid at each edge whose result is not used. It
                is 0 where only the regressions need these pixels, which saves time.

        Returns:
            (batch, bands of the coarsest GSD, rows, columns) on the 10 m grid, float32.
        """
        ten_b4hw, twenty, coarse = (reflectance[gsd].float() for gsd in sorted(reflectance))
        factor = self.coarsest // TRUNK_GSD
        if measured is None:
            measured = torch.ones_like(coarse[:, :1])
        ten_pooled = F.avg_pool2d(ten_b4hw, FOLD)
        pooled = {TRUNK_GSD: torch.cat([ten_pooled, twenty], dim=1), self.coarsest: coarse}
        with torch.autocast(coarse.device.type, enabled=False):
            fitted = local_regressions(pooled, measured, self.fits)
            excess = excess_errors(fitted.missed, measured)
        rim = max(0, unused - self._trunk_reach - INTERPOLATION_REACH)

        def inner(x: Tensor, gsd: int) -> Tensor:
            edge = rim * self.coarsest // gsd
            return x[..., edge : x.shape[-2] - edge, edge : x.shape[-1] - edge]

        ten_b4hw, twenty = inner(ten_b4hw, FINEST_GSD), inner(twenty, TRUNK_GSD)
        ten_pooled, predicted = inner(ten_pooled, TRUNK_GSD), inner(fitted.predicted, TRUNK_GSD)
        coarse, measured, excess, missed, coefficients = (
            inner(x, self.coarsest)
            for x in (coarse, measured, excess, fitted.missed, fitted.coefficients)
        )
        start = bicubic(coarse, factor)
        added = predicted - start[:, None]
        missed = bicubic(missed.flatten(1, 2), factor).reshape(added.shape)
        excess = enlarge(excess.flatten(1, 2), factor, "bilinear")
        ten_folded = F.pixel_unshuffle(ten_b4hw, FOLD)
        features = self._features(
            torch.cat([ten_folded, twenty, start], dim=1),
            torch.cat([added, missed], dim=1).flatten(1, 2),
            torch.cat([excess, bicubic(measured.float(), factor)], dim=1),
        )
        count, bands = added.shape[1:3]
        weights, details = features.tensor_split([(count + 1) * bands], dim=1)
        # Bicubic interpolation is the last proposal; it counts as much worse than the best.
        excess = torch.cat([excess, torch.full_like(start, BICUBIC_EXCESS)], dim=1)
        weights = torch.unflatten(weights - self.selectivity * excess, 1, (count + 1, bands))
        shares = weights.softmax(dim=1)[:, :count]
        at_trunk_grid = start + (shares * (added + missed)).sum(dim=1)
        # The slopes on the 10 m bands, weighted like the predictions.
        slopes = coefficients[:, :, :, : ten_b4hw.shape[1]]
        weighted = torch.zeros_like(ten_pooled)[:, None]
        for index in range(count):  # in a loop, because they are large
            fine = enlarge(slopes[:, index].flatten(1, 2), factor, "bilinear")
            weighted = torch.addcmul(
                weighted, shares[:, index, :, None], torch.unflatten(fine, 1, (bands, -1))
            )
        inside = F.pixel_unshuffle(ten_b4hw - bicubic(ten_pooled, FOLD), FOLD)
        injected = torch.einsum(
            "nbgrc,ngfrc->nbfrc", weighted, torch.unflatten(inside, 1, (ten_b4hw.shape[1], -1))
        )
        details = details / self.gain + injected.flatten(1, 2)
        result = bicubic(at_trunk_grid, FOLD) + F.pixel_shuffle(details, FOLD)
        return F.pad(result, [rim * self.coarsest // FINEST_GSD] * 4)

    def _features(self, bands: Tensor, proposed: Tensor, reliability: Tensor) -> Tensor:
        """The trunk's output: weights of the proposals, then details divided by the gain.

        Args:
            bands: All bands on the 20 m grid, reflectance.
            proposed: What regressions add to bicubic interpolation and what they miss, likewise.
            reliability: The excess errors of the regressions, and the measured share, likewise.
        """
        features = torch.cat(
            [bands * self.gain, proposed * (self.gain * DETAIL_GAIN), reliability], dim=1
        ).contiguous(memory_format=torch.channels_last)
        # As in the native trunk, the first and last layers and the residual are float32.
        with torch.autocast(bands.device.type, enabled=False):
            features = self.head(features)
        features = self.trunk(features)
        with torch.autocast(bands.device.type, enabled=False):
            return self.tail(features.float())
