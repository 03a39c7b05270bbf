"""Random degraded patches of scenes, for training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from decametre.superres.degradation.degraded_scene import MIN_MEASURED, DegradedPair, DegradedScene
from decametre.superres.degradation.kernels import (
    crop_mirrored,
    degrade,
    radius_of,
)
from decametre.superres.degradation.training_kernels import TrainingKernels
from decametre.superres.pixels.scenes import Scene

MAX_OVERHANG = 2
"""Largest distance of a patch's edge beyond that of the scene, in degraded pixels."""

MIXED_SHARE = 0.75
"""Share of patches whose bands are mixed, GSD by GSD, if `mixing` is above 0."""


class TrainingPatches(Dataset[DegradedPair]):
    """Square patches at random places: degraded, flipped, rotated, brightened and mixed.

    Patch number i, including its kernel, depends on the seed and on i only, not on earlier patches
    or on the process that computes it. So a run can be resumed at any step, and any number of
    processes can share a batch.

    A patch starts at any pixel of the coarsest native grid, so the position of the degraded grid
    varies. It may extend `MAX_OVERHANG` degraded pixels beyond the scene, which is mirrored there,
    as it is when a network is used. The probability of a scene grows with its edge length and its
    share of measured pixels: scenes with gaps are less useful, and several scenes of different
    ground are more useful than one large scene.

    Args:
        scenes: Scenes on native grids.
        kernels: Degradation kernels of the patches, with the bands of the scenes in their order;
            the coarsest are the target.
        size: Edge of a patch in pixels of the coarsest degraded grid (40 m or 360 m).
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain].
        seed: Seed of the random numbers.
        mixing: See `mixture`; 0 leaves the bands unchanged.
        min_measured: See `degraded_scene.MIN_MEASURED`.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        kernels: TrainingKernels,
        size: int,
        gain: float,
        seed: int,
        mixing: float = 0.0,
        min_measured: float = MIN_MEASURED,
    ) -> None:
        self.scenes, self.kernels, self.bands_in = scenes, kernels, kernels.bands_in
        self.size, self.gain, self.seed, self.mixing = size, gain, seed, mixing
        self.min_measured = min_measured
        self.coarsest, self.scale = max(self.bands_in), kernels.scale
        weights = np.array([self._weight(scene) for scene in scenes])
        self.probabilities = weights / weights.sum()

    def _weight(self, scene: Scene) -> float:
        valid = scene.valid[self.coarsest]
        # Gaps are rows. The share left after the kernel falls with a power of the measured share.
        measured = float(valid.float().mean()) ** 4
        return math.sqrt(valid.shape[1] * valid.shape[2]) * measured

    def __getitem__(self, index: int) -> DegradedPair:
        """Compute patch number `index`, any integer from 0."""
        random = np.random.default_rng((self.seed, index))
        scene = self.scenes[random.choice(len(self.scenes), p=self.probabilities)]
        row, col = (self._place(side, random) for side in scene.valid[self.coarsest].shape[1:])
        kernel = self.kernels.choose(index, random)
        pair = self._degraded(scene, row, col, kernel.taps)
        turns, flip = int(random.integers(4)), bool(random.integers(2))
        gain = float(np.exp(random.uniform(-self.gain, self.gain)))

        def varied(x_bchw: Tensor) -> Tensor:
            turned = torch.rot90(x_bchw, turns, dims=(2, 3))
            return turned.flip(3) if flip else turned

        drawn = DegradedPair(
            {gsd: varied(image) * gain for gsd, image in pair.inputs.items()},
            varied(pair.target) * gain,
            varied(pair.mask),
            varied(pair.measured),
            None if kernel.gains is None else kernel.gains[None],
        )
        return mixed(drawn, self.mixing, random) if self.mixing else drawn

    def _place(self, side: int, random: np.random.Generator) -> int:
        """First row or column of a patch in a scene with an edge of `side` coarsest pixels."""
        beyond, edge = MAX_OVERHANG * self.scale, self.size * self.scale
        first, last = -beyond, side + beyond - edge
        if last < first:  # a small scene is in the middle of its mirror images
            first, last = ((first + last) // 2 + shift for shift in (-self.scale, self.scale))
        return int(random.integers(first, last + 1))

    def _degraded(
        self, scene: Scene, row: int, col: int, taps: Mapping[int, Tensor]
    ) -> DegradedPair:
        """Crop a patch of a scene and degrade it, which is faster than degrading the scene."""
        edge = self.size * self.scale
        degraded, clean = {}, {}
        for gsd in self.bands_in:
            factor, radius = self.coarsest // gsd, radius_of(taps[gsd], self.scale)
            reach = edge * factor + 2 * radius
            window = row * factor - radius, col * factor - radius, reach, reach

            image = crop_mirrored(scene.reflectance[gsd], *window)[None]
            valid = crop_mirrored(scene.valid[gsd], *window)[None].float()
            degraded[gsd] = degrade(image, taps[gsd], self.scale, pad=False)[0]
            share = degrade(valid, taps[gsd], self.scale, pad=False)[0]
            clean[gsd] = share >= self.min_measured
        target, valid = (
            crop_mirrored(grids[self.coarsest], row, col, edge, edge)
            for grids in (scene.reflectance, scene.valid)
        )
        pair = DegradedScene(scene.name, self.scale, degraded, clean, target, valid).full_pair()
        rows, cols = (
            torch.tensor([0 <= first + pixel < side for pixel in range(edge)])
            for first, side in zip((row, col), scene.valid[self.coarsest].shape[1:], strict=True)
        )
        inside = F.avg_pool2d((rows[:, None] & cols).float()[None], self.scale) == 1
        return replace(pair, measured=pair.measured * inside)


def mixed(pair: DegradedPair, most: float, random: np.random.Generator) -> DegradedPair:
    """A pair of virtual bands: mixtures of bands of the same GSD.

    Degradation is linear, and equal for all bands of a GSD with kernel `dsen2`, so a mixture of
    degraded bands is the degraded mixture (approximately for other kernels). This adds relations
    between bands that the training scenes do not contain.

    Args:
        pair: The pair of the patch.
        most: See `mixture`.
        random: Random number generator.
    """
    weights = {gsd: mixture(image.shape[1], most, random) for gsd, image in pair.inputs.items()}

    def mix(x_bchw: Tensor, gsd: int) -> Tensor:
        return torch.einsum("ob,nbrc->norc", weights[gsd], x_bchw)

    return DegradedPair(
        {gsd: mix(image, gsd) for gsd, image in pair.inputs.items()},
        mix(pair.target, max(pair.inputs)),
        pair.mask.all(dim=1, keepdim=True).expand_as(pair.mask),
        pair.measured,
        pair.gains,
    )


def mixture(bands: int, most: float, random: np.random.Generator) -> Tensor:
    """Weights that mix bands, (bands, bands); they are not negative, and each row sums to 1.

    With probability `MIXED_SHARE`, every band keeps a weight of at least 1 - `most`, and the rest
    is a random mixture of all bands. Otherwise bands are unchanged.
    """
    part = random.uniform(0, most) if random.random() < MIXED_SHARE else 0.0
    others = random.dirichlet(np.ones(bands), size=bands)
    return torch.from_numpy((1 - part) * np.eye(bands) + part * others).float()
