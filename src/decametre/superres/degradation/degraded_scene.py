"""Degraded scenes: inputs of a network, and the reference that its output is compared with.

In Wald's protocol, every band is degraded to a grid s times coarser, and the network sharpens the
coarsest bands to the grid on which they were measured. Scores are those of 40 -> 20 m or
360 -> 60 m. The error at 10 m is unknown, since there is no reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.degradation.kernels import degrade, kernel_taps
from decametre.superres.pixels.scenes import Scene

MIN_MEASURED = 0.99
"""A degraded pixel is clean when this share of its kernel's weight lies on measured pixels."""


@dataclass(frozen=True)
class DegradedPair:
    """Inputs of a network at degraded scale, and the reference for its output.

    Attributes:
        inputs: For each native GSD in metres, (batch, bands, rows, columns) of degraded
            reflectance. At 2x, the 10 m bands are on a 20 m grid and have the key 10.
        target: (batch, bands, rows, columns): the coarsest bands as measured.
        mask: bool, the shape of `target`: True where the target is a measurement and all inputs
            at this pixel were computed from measurements.
        measured: (batch, 1, rows, columns) on the grid of the coarsest inputs, 0 to 1: the share of
            the inputs that was computed from measurements; 0 where a coarsest band was not.
        gains: (batch, bands of the coarsest GSD), for networks that adapt to blur in training, see
            `measured_kernels`; None for other networks.
    """

    inputs: Mapping[int, Tensor]
    target: Tensor
    mask: Tensor
    measured: Tensor
    gains: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> DegradedPair:
        """The pair with a function applied to each tensor."""
        return DegradedPair(
            {gsd: function(image) for gsd, image in self.inputs.items()},
            function(self.target),
            function(self.mask),
            function(self.measured),
            None if self.gains is None else function(self.gains),
        )

    def to(self, device: torch.device) -> DegradedPair:
        """The pair on a device; copied asynchronously from pinned memory."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> DegradedPair:
        """The pair in page-locked memory, for asynchronous copies to a GPU."""
        return self.map(Tensor.pin_memory)


@dataclass(frozen=True)
class DegradedScene:
    """A scene degraded once, from which pairs can be cut.

    Attributes:
        name: The scene's.
        scale: Ratio s: 2 for the 20 m bands, 6 for the 60 m bands.
        degraded: For each GSD, (bands, rows, columns) on a grid s times coarser than the native.
        clean: bool, the same shapes: True where a pixel was computed from measurements.
        target: (bands, rows, columns): the coarsest bands as measured.
        valid: bool, the same shape: True where the target is a measurement.
    """

    name: str
    scale: int
    degraded: Mapping[int, Tensor]
    clean: Mapping[int, Tensor]
    target: Tensor
    valid: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the coarsest native grid."""
        rows, cols = self.target.shape[-2:]
        return rows, cols

    def pair(self, row: int, col: int, rows: int, cols: int) -> DegradedPair:
        """Cut a pair.

        Args:
            row: First row, in pixels of the coarsest native grid, a multiple of `scale`.
            col: First column, likewise.
            rows: Number of rows, likewise.
            cols: Number of columns, likewise.
        """
        at = slice(row, row + rows), slice(col, col + cols)
        inputs, mask = {}, self.valid[:, *at]
        measured = torch.ones(rows // self.scale, cols // self.scale)
        coarsest = max(self.degraded)
        for gsd, image in self.degraded.items():
            width = self.scale * gsd // coarsest  # of a degraded pixel, on the target grid
            places = tuple(slice(s.start // width, s.stop // width) for s in at)
            inputs[gsd] = image[:, *places][None]
            clean = self.clean[gsd][:, *places]
            share = F.avg_pool2d(clean[None].float(), self.scale // width)[0]
            measured = measured * (share.amin(dim=0) if gsd == coarsest else share.mean(dim=0))
            if gsd < coarsest:  # every target band needs all finer bands
                clean = clean.all(dim=0, keepdim=True)
            mask = mask & clean.repeat_interleave(width, dim=1).repeat_interleave(width, dim=2)
        return DegradedPair(inputs, self.target[:, *at][None], mask[None], measured[None, None])

    def full_pair(self) -> DegradedPair:
        """The pair of the full scene, cropped to a multiple of the coarsest degraded pixels."""
        rows, cols = self.shape
        return self.pair(0, 0, rows // self.scale * self.scale, cols // self.scale * self.scale)


def degrade_scene(
    scene: Scene,
    kernel: str,
    bands_in: Mapping[int, tuple[str, ...]],
    min_measured: float = MIN_MEASURED,
) -> DegradedScene:
    """Degrade a scene.

    Args:
        scene: The scene, with the bands of `bands_in` in that order.
        kernel: Name of a kernel, see `kernels`.
        bands_in: Band names for each GSD; the coarsest are the target.
        min_measured: See `MIN_MEASURED`.
    """
    scale = max(bands_in) // FINEST_GSD
    taps = {gsd: kernel_taps(kernel, names, scale) for gsd, names in bands_in.items()}
    return degrade_with_taps(scene, taps, min_measured)


def degrade_with_taps(
    scene: Scene, taps: Mapping[int, Tensor], min_measured: float = MIN_MEASURED
) -> DegradedScene:
    """Degrade a scene with the kernels of its bands.

    Args:
        scene: The scene.
        taps: For each GSD, the weights of the scene's bands as from `kernels.kernel_taps`; the
            bands of the coarsest GSD are the target.
        min_measured: See `MIN_MEASURED`.
    """
    coarsest = max(taps)
    scale = coarsest // FINEST_GSD
    degraded, clean = {}, {}
    for gsd, of_bands in taps.items():
        image, measured = scene.reflectance[gsd][None], scene.valid[gsd][None]
        degraded[gsd] = degrade(image, of_bands, scale)[0]
        clean[gsd] = degrade(measured.float(), of_bands, scale)[0] >= min_measured
    return DegradedScene(
        name=scene.name,
        scale=scale,
        degraded=degraded,
        clean=clean,
        target=scene.reflectance[coarsest],
        valid=scene.valid[coarsest],
    )


def stack_pairs(pairs: list[DegradedPair]) -> DegradedPair:
    """Join pairs of equal size to a batch, in channels-last memory."""
    gains = [p.gains for p in pairs if p.gains is not None]
    return DegradedPair(
        {gsd: channels_last([p.inputs[gsd] for p in pairs]) for gsd in pairs[0].inputs},
        channels_last([p.target for p in pairs]),
        channels_last([p.mask for p in pairs]),
        torch.cat([p.measured for p in pairs]),
        torch.cat(gains) if gains else None,
    )


def channels_last(parts: list[Tensor]) -> Tensor:
    """Concatenate batches, in channels-last memory."""
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)
