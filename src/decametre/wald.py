"""Degraded pairs: what a network sees and what it should answer, from one native image.

Wald's protocol: every band is made s times coarser, and the network brings the coarsest bands
back to the grid on which they were measured. The score is that of 40 -> 20 m or 360 -> 60 m, not
the error at 10 m, where no truth exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.degradation import degrade, kernel_taps

MIN_MEASURED = 0.99
"""A degraded pixel is clean when this share of its kernel's weight lies on measured pixels."""


@dataclass(frozen=True)
class Pair:
    """A batch at degraded scale.

    Attributes:
        inputs: For each GSD in metres, (batch, bands, rows, columns) of reflectance, degraded. The
            key is the GSD of the band that plays the part: at 2x, the band of 10 m at 20 m.
        target: (batch, bands, rows, columns): the coarsest bands as measured.
        mask: bool, the shape of `target`: True where the target is a measurement and everything
            that the network gets for this very pixel was made from measurements.
    """

    inputs: Mapping[int, Tensor]
    target: Tensor
    mask: Tensor


def taps_for(kernel: str, bands_in: Mapping[int, tuple[str, ...]], scale: int) -> dict[int, Tensor]:
    """The kernel of each GSD's bands, from `degradation.kernel_taps`."""
    return {gsd: kernel_taps(kernel, names, scale) for gsd, names in bands_in.items()}


def make_pair(
    reflectance: Mapping[int, Tensor],
    valid: Mapping[int, Tensor],
    taps: Mapping[int, Tensor],
    scale: int,
    min_measured: float = MIN_MEASURED,
) -> Pair:
    """Degrade a batch.

    Args:
        reflectance: For each GSD, (batch, bands, rows, columns) on the native grid, filled where
            nothing was measured. Rows and columns of the coarsest are multiples of `scale`.
        valid: bool, the same shapes.
        taps: From `taps_for`.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        min_measured: See `MIN_MEASURED`.
    """
    coarsest = max(reflectance)
    inputs = {gsd: degrade(image, taps[gsd], scale) for gsd, image in reflectance.items()}
    target, mask = reflectance[coarsest], valid[coarsest]
    for gsd, measured in valid.items():
        clean = degrade(measured.float(), taps[gsd], scale) >= min_measured
        if gsd != coarsest:
            clean = clean.all(dim=1, keepdim=True)
        mask = mask & repeat(clean, scale * gsd // coarsest)
    return Pair(inputs, target, mask)


def repeat(x_bchw: Tensor, factor: int) -> Tensor:
    """Every pixel repeated to a grid `factor` times finer."""
    if factor == 1:
        return x_bchw
    return F.interpolate(x_bchw.to(torch.uint8), scale_factor=factor).bool()
