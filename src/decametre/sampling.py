"""Patches drawn from scenes, for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from decametre.bands import FINEST_GSD
from decametre.grid import Window
from decametre.scenes import Scene


class PatchSampler:
    """Draws square patches from scenes at random places, flipped, turned and brightened.

    Places are multiples of the coarsest band's pixel, so the cells of the degraded grid fall
    differently in each draw. A scene is drawn with a probability that grows with its edge length
    and with the share of its pixels that were measured: torn scenes teach less, and many views of
    different ground are worth more than one large scene.

    Args:
        scenes: The scenes.
        size: Edge of a patch in 10 m pixels, a multiple of the coarsest band's factor.
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain].
        seed: Of the random numbers.
    """

    def __init__(self, scenes: Sequence[Scene], size: int, gain: float, seed: int) -> None:
        self.scenes, self.size, self.gain = scenes, size, gain
        self.random = np.random.default_rng(seed)
        weights = np.array([self._weight(scene) for scene in scenes])
        self.probabilities = weights / weights.sum()

    @staticmethod
    def _weight(scene: Scene) -> float:
        rows, cols = scene.shape
        coarsest = max(scene.valid)
        # Gaps come as rows: what survives the kernel falls with a power of the measured share.
        measured = float(scene.valid[coarsest].float().mean()) ** 4
        return float(np.sqrt(rows * cols)) * measured

    def batch(self, count: int) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Draw patches: reflectance and mask for each GSD, (count, bands, rows, columns)."""
        drawn = [self._patch() for _ in range(count)]
        gsds = drawn[0][0].keys()
        return (
            {gsd: torch.stack([patch[0][gsd] for patch in drawn]) for gsd in gsds},
            {gsd: torch.stack([patch[1][gsd] for patch in drawn]) for gsd in gsds},
        )

    def _patch(self) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        scene = self.scenes[self.random.choice(len(self.scenes), p=self.probabilities)]
        rows, cols = scene.shape
        step = max(scene.reflectance) // FINEST_GSD
        row = int(self.random.integers(0, max(0, rows - self.size) // step + 1)) * step
        col = int(self.random.integers(0, max(0, cols - self.size) // step + 1)) * step
        window = Window(col, row, min(self.size, cols), min(self.size, rows))
        reflectance, valid = scene.crop(window)
        turns, flip = int(self.random.integers(4)), bool(self.random.integers(2))
        gain = float(np.exp(self.random.uniform(-self.gain, self.gain)))
        return (
            {
                gsd: self._turn(_fit(x, self.size // (gsd // 10)), turns, flip) * gain
                for gsd, x in reflectance.items()
            },
            {
                gsd: self._turn(_fit(x, self.size // (gsd // 10)), turns, flip)
                for gsd, x in valid.items()
            },
        )

    @staticmethod
    def _turn(x_chw: Tensor, turns: int, flip: bool) -> Tensor:
        turned = torch.rot90(x_chw, turns, dims=(1, 2))
        return turned.flip(2) if flip else turned


def _fit(x_chw: Tensor, size: int) -> Tensor:
    """Enlarge a patch from a scene that is too small: pixels repeat, masks are False."""
    rows, cols = x_chw.shape[-2:]
    if (rows, cols) == (size, size):
        return x_chw
    pad = [0, size - cols, 0, size - rows]
    if x_chw.dtype == torch.bool:
        return F.pad(x_chw, pad, value=False)
    return F.pad(x_chw[None], pad, mode="replicate")[0]
