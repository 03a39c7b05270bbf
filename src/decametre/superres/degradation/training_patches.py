"""Patches drawn from degraded scenes, for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from decametre.superres.degradation.degraded_scene import DegradedScene, Pair

MIXED = 0.75
"""Share of patches whose bands are mixed, GSD by GSD, where they are mixed at all."""


class Patches(Dataset[Pair]):
    """Square pairs from scenes at random places, flipped, turned, brightened and mixed.

    Patch number i depends on the seed and on i alone: not on the patches drawn before, not on the
    process that draws it. So a run can go on at any step, and a batch can be drawn by any number
    of processes.

    Places are any pixel of the coarsest native grid, so the cells of the degraded grid fall
    differently in each draw. A scene is drawn with a probability that grows with its edge length
    and with the share of its pixels that were measured: torn scenes teach less, and many views of
    different ground are worth more than one large scene.

    Args:
        scenes: For each kernel, the scenes degraded by it, all at one scale and in the same order.
            Kernels take turns.
        size: Edge of a patch in pixels of the coarsest degraded grid (40 m or 360 m).
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain].
        seed: Of the random numbers.
        mixing: See `mixture`; 0 leaves the bands as they are.
    """

    def __init__(
        self,
        scenes: Mapping[str, Sequence[DegradedScene]],
        size: int,
        gain: float,
        seed: int,
        mixing: float = 0.0,
    ) -> None:
        self.scenes, self.gain, self.seed = list(scenes.values()), gain, seed
        self.mixing = mixing
        self.edge = size * self.scenes[0][0].scale
        weights = np.array([self._weight(scene) for scene in self.scenes[0]])
        self.probabilities = weights / weights.sum()

    @staticmethod
    def _weight(scene: DegradedScene) -> float:
        rows, cols = scene.shape
        # Gaps come as rows: what survives the kernel falls with a power of the measured share.
        measured = float(scene.valid.float().mean()) ** 4
        return float(np.sqrt(rows * cols)) * measured

    def __getitem__(self, index: int) -> Pair:
        """Draw patch number `index`, any integer from 0."""
        random = np.random.default_rng((self.seed, index))
        scenes = self.scenes[index % len(self.scenes)]
        scene = scenes[random.choice(len(scenes), p=self.probabilities)]
        rows, cols = (min(self.edge, side // scene.scale * scene.scale) for side in scene.shape)
        row = int(random.integers(scene.shape[0] - rows + 1))
        col = int(random.integers(scene.shape[1] - cols + 1))
        pair = scene.pair(row, col, rows, cols)
        turns, flip = int(random.integers(4)), bool(random.integers(2))
        gain = float(np.exp(random.uniform(-self.gain, self.gain)))

        def varied(x_bchw: Tensor, missing: bool = False) -> Tensor:
            share = x_bchw.shape[-2] / rows
            size = round(self.edge * share)
            turned = torch.rot90(enlarged(x_bchw, size, missing), turns, dims=(2, 3))
            return turned.flip(3) if flip else turned

        drawn = Pair(
            {gsd: varied(image) * gain for gsd, image in pair.inputs.items()},
            varied(pair.target) * gain,
            varied(pair.mask, missing=True),
            varied(pair.measured, missing=True),
        )
        return mixed(drawn, self.mixing, random) if self.mixing else drawn


def mixed(pair: Pair, most: float, random: np.random.Generator) -> Pair:
    """A pair of bands that no sensor has: mixtures of those of the same GSD.

    Degrading is linear, and the same for all bands of a GSD under kernel `dsen2`: a mixture of
    degraded bands is the degraded mixture (under `mtf` nearly). What a network learns of how bands
    go together thereby comes from more kinds of ground than were seen.

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


def enlarged(x_bchw: Tensor, size: int, missing: bool) -> Tensor:
    """A patch from a scene that is too small, at full size.

    Args:
        x_bchw: An image, or a mask.
        size: Edge to bring it to.
        missing: Fill with 0, as a mask wants; else pixels repeat.
    """
    rows, cols = x_bchw.shape[-2:]
    if (rows, cols) == (size, size):
        return x_bchw
    pad = [0, size - cols, 0, size - rows]
    return F.pad(x_bchw, pad, value=0) if missing else F.pad(x_bchw, pad, mode="replicate")
