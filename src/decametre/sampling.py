"""Patches drawn from degraded scenes, for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.wald import DegradedScene, Pair, stack_pairs


class PatchSampler:
    """Draws square pairs from scenes at random places, flipped, turned and brightened.

    Places are any pixel of the coarsest native grid, so the cells of the degraded grid fall
    differently in each draw. A scene is drawn with a probability that grows with its edge length
    and with the share of its pixels that were measured: torn scenes teach less, and many views of
    different ground are worth more than one large scene.

    Args:
        scenes: The scenes, all degraded at one scale.
        size: Edge of a patch in pixels of the coarsest degraded grid (40 m or 360 m).
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain].
        seed: Of the random numbers.
    """

    def __init__(self, scenes: Sequence[DegradedScene], size: int, gain: float, seed: int) -> None:
        self.scenes, self.gain = scenes, gain
        self.edge = size * scenes[0].scale
        self.random = np.random.default_rng(seed)
        weights = np.array([self._weight(scene) for scene in scenes])
        self.probabilities = weights / weights.sum()

    @staticmethod
    def _weight(scene: DegradedScene) -> float:
        rows, cols = scene.shape
        # Gaps come as rows: what survives the kernel falls with a power of the measured share.
        measured = float(scene.valid.float().mean()) ** 4
        return float(np.sqrt(rows * cols)) * measured

    def batch(self, count: int) -> Pair:
        """Draw a batch of pairs."""
        return stack_pairs([self._patch() for _ in range(count)])

    def _patch(self) -> Pair:
        scene = self.scenes[self.random.choice(len(self.scenes), p=self.probabilities)]
        rows, cols = (min(self.edge, side // scene.scale * scene.scale) for side in scene.shape)
        row = int(self.random.integers(scene.shape[0] - rows + 1))
        col = int(self.random.integers(scene.shape[1] - cols + 1))
        pair = scene.pair(row, col, rows, cols)
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        gain = float(np.exp(self.random.uniform(-self.gain, self.gain)))

        def varied(x_bchw: Tensor) -> Tensor:
            share = x_bchw.shape[-2] / rows
            turned = torch.rot90(enlarged(x_bchw, round(self.edge * share)), turns, dims=(2, 3))
            return turned.flip(3) if flip else turned

        return Pair(
            {gsd: varied(image) * gain for gsd, image in pair.inputs.items()},
            varied(pair.target) * gain,
            varied(pair.mask),
        )


def enlarged(x_bchw: Tensor, size: int) -> Tensor:
    """A patch from a scene that is too small, at full size: pixels repeat, masks are False."""
    rows, cols = x_bchw.shape[-2:]
    if (rows, cols) == (size, size):
        return x_bchw
    pad = [0, size - cols, 0, size - rows]
    if x_bchw.dtype == torch.bool:
        return F.pad(x_bchw, pad, value=False)
    return F.pad(x_bchw, pad, mode="replicate")
