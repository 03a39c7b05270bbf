"""Bicubic interpolation: the baseline of every score, and the start of every network."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from decametre.sentinel2.bands import FINEST_GSD


def bicubic(x_bchw: Tensor, factor: int) -> Tensor:
    """Interpolate to a grid `factor` times finer; pixel areas coincide, edge pixels repeat."""
    return enlarge(x_bchw, factor, "bicubic")


def enlarge(x_bchw: Tensor, factor: int, mode: str) -> Tensor:
    """Interpolate as `bicubic` does, with another mode of `F.interpolate`."""
    # `scale_factor` would make the size a rounded float, which exports to ONNX cannot simplify.
    size = [edge * factor for edge in x_bchw.shape[-2:]]
    return F.interpolate(x_bchw, size=size, mode=mode, align_corners=False)


class Bicubic(nn.Module):
    """The coarsest bands interpolated to 10 m; the finer bands are ignored.

    Args:
        bands_in: Number of bands for each GSD in metres.
    """

    margin = 2
    """Receptive field in pixels of the coarsest grid."""

    alignment = 1
    """Inputs may start at any pixel of the coarsest grid."""

    def __init__(self, bands_in: Mapping[int, int]) -> None:
        super().__init__()
        self.coarsest = max(bands_in)

    def forward(self, reflectance: Mapping[int, Tensor], measured: Tensor | None = None) -> Tensor:
        """(batch, bands, rows, columns) of the coarsest GSD, on the 10 m grid."""
        return bicubic(reflectance[self.coarsest].float(), self.coarsest // FINEST_GSD)
