"""Patches drawn from scenes and degraded, for training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from decametre.options import DRAWN
from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.degradation.degraded_scene import MIN_MEASURED, DegradedScene, Pair
from decametre.superres.degradation.kernels import (
    cut_mirrored,
    degrade,
    drawn_taps,
    kernel_taps,
    radius_of,
)
from decametre.superres.pixels.scenes import Scene

BEYOND = 2
"""Patches begin and end at most so many degraded pixels beyond a scene's edge."""

MIXED = 0.75
"""Share of patches whose bands are mixed, GSD by GSD, where they are mixed at all."""


class TrainingPatches(Dataset[Pair]):
    """Square pairs from scenes at random places, degraded, flipped, turned, brightened and mixed.

    Patch number i depends on the seed and on i alone, its kernel included: not on the patches
    drawn before, not on the process that draws it. So a run can go on at any step, and a batch can
    be drawn by any number of processes.

    Places are any pixel of the coarsest native grid, so the cells of the degraded grid fall
    differently in each draw. They reach up to `BEYOND` degraded pixels over the edge, where scenes
    go on mirrored, as they do when a network is used. A scene is drawn with a probability that
    grows with its edge length and with the share of its pixels that were measured: torn scenes
    teach less, and many views of different ground are worth more than one large scene.

    Args:
        scenes: As measured, on native grids.
        bands_in: Band names for each GSD, in the scenes' order; the coarsest are brought back.
        kernels: Degradation kernels, which take turns: names that `kernel_taps` knows, or `drawn`.
        gains: See `drawn_taps`.
        size: Edge of a patch in pixels of the coarsest degraded grid (40 m or 360 m).
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain].
        seed: Of the random numbers.
        mixing: See `mixture`; 0 leaves the bands as they are.
        min_measured: See `degraded_scene.MIN_MEASURED`.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        bands_in: Mapping[int, tuple[str, ...]],
        kernels: Sequence[str],
        gains: tuple[float, float],
        size: int,
        gain: float,
        seed: int,
        mixing: float = 0.0,
        min_measured: float = MIN_MEASURED,
    ) -> None:
        self.scenes, self.bands_in, self.gains = scenes, bands_in, gains
        self.size, self.gain, self.seed, self.mixing = size, gain, seed, mixing
        self.min_measured = min_measured
        self.coarsest = max(bands_in)
        self.scale = self.coarsest // FINEST_GSD
        self.kernels = [
            None
            if kernel == DRAWN
            else {gsd: kernel_taps(kernel, names, self.scale) for gsd, names in bands_in.items()}
            for kernel in kernels
        ]
        weights = np.array([self._weight(scene) for scene in scenes])
        self.probabilities = weights / weights.sum()

    def _weight(self, scene: Scene) -> float:
        valid = scene.valid[self.coarsest]
        # Gaps come as rows: what survives the kernel falls with a power of the measured share.
        measured = float(valid.float().mean()) ** 4
        return math.sqrt(valid.shape[1] * valid.shape[2]) * measured

    def __getitem__(self, index: int) -> Pair:
        """Draw patch number `index`, any integer from 0."""
        random = np.random.default_rng((self.seed, index))
        scene = self.scenes[random.choice(len(self.scenes), p=self.probabilities)]
        row, col = (self._place(side, random) for side in scene.valid[self.coarsest].shape[1:])
        taps = self.kernels[index % len(self.kernels)]
        if taps is None:
            taps = drawn_taps(self.bands_in, self.scale, self.gains, random)
        pair = self._degraded(scene, row, col, taps)
        turns, flip = int(random.integers(4)), bool(random.integers(2))
        gain = float(np.exp(random.uniform(-self.gain, self.gain)))

        def varied(x_bchw: Tensor) -> Tensor:
            turned = torch.rot90(x_bchw, turns, dims=(2, 3))
            return turned.flip(3) if flip else turned

        drawn = Pair(
            {gsd: varied(image) * gain for gsd, image in pair.inputs.items()},
            varied(pair.target) * gain,
            varied(pair.mask),
            varied(pair.measured),
        )
        return mixed(drawn, self.mixing, random) if self.mixing else drawn

    def _place(self, side: int, random: np.random.Generator) -> int:
        """First row or column of a patch in a scene with an edge of `side` coarsest pixels."""
        beyond, edge = BEYOND * self.scale, self.size * self.scale
        first, last = -beyond, side + beyond - edge
        if last < first:  # a small scene lies in the middle of its mirror images
            first, last = ((first + last) // 2 + shift for shift in (-self.scale, self.scale))
        return int(random.integers(first, last + 1))

    def _degraded(self, scene: Scene, row: int, col: int, taps: Mapping[int, Tensor]) -> Pair:
        """Cut a patch out of a scene and degrade it; unlike what is cut, a whole scene is slow."""
        edge = self.size * self.scale
        degraded, clean = {}, {}
        for gsd in self.bands_in:
            factor, radius = self.coarsest // gsd, radius_of(taps[gsd], self.scale)
            reach = edge * factor + 2 * radius
            window = row * factor - radius, col * factor - radius, reach, reach

            image = cut_mirrored(scene.reflectance[gsd], *window)[None]
            valid = cut_mirrored(scene.valid[gsd], *window)[None].float()
            degraded[gsd] = degrade(image, taps[gsd], self.scale, pad=False)[0]
            share = degrade(valid, taps[gsd], self.scale, pad=False)[0]
            clean[gsd] = share >= self.min_measured
        target, valid = (
            cut_mirrored(grids[self.coarsest], row, col, edge, edge)
            for grids in (scene.reflectance, scene.valid)
        )
        pair = DegradedScene(scene.name, self.scale, degraded, clean, target, valid).whole()
        rows, cols = (
            torch.tensor([0 <= first + pixel < side for pixel in range(edge)])
            for first, side in zip((row, col), scene.valid[self.coarsest].shape[1:], strict=True)
        )
        inside = F.avg_pool2d((rows[:, None] & cols).float()[None], self.scale) == 1
        return replace(pair, measured=pair.measured * inside)


def mixed(pair: Pair, most: float, random: np.random.Generator) -> Pair:
    """A pair of bands that no sensor has: mixtures of those of the same GSD.

    Degrading is linear, and the same for all bands of a GSD under kernel `dsen2`: a mixture of
    degraded bands is the degraded mixture (under other kernels nearly). What a network learns of
    how bands go together thereby comes from more kinds of ground than were seen.

    Args:
        pair: As drawn.
        most: See `mixture`.
        random: Where the weights come from.
    """
    weights = {gsd: mixture(image.shape[1], most, random) for gsd, image in pair.inputs.items()}

    def mix(x_bchw: Tensor, gsd: int) -> Tensor:
        return torch.einsum("ob,nbrc->norc", weights[gsd], x_bchw)

    return Pair(
        {gsd: mix(image, gsd) for gsd, image in pair.inputs.items()},
        mix(pair.target, max(pair.inputs)),
        pair.mask.all(dim=1, keepdim=True).expand_as(pair.mask),
        pair.measured,
    )


def mixture(bands: int, most: float, random: np.random.Generator) -> Tensor:
    """Weights with which bands are mixed, (bands, bands), each row from 0 and of sum 1.

    Three times in four, every band keeps a part of itself, at least 1 - `most`, and the rest is any
    mixture of all bands; else bands stay as they are.
    """
    part = random.uniform(0, most) if random.random() < MIXED else 0.0
    others = random.dirichlet(np.ones(bands), size=bands)
    return torch.from_numpy((1 - part) * np.eye(bands) + part * others).float()
