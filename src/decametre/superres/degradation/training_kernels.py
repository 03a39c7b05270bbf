"""Degradation kernels of training patches.

A network that adapts to blur receives the gains of `measured_mtf` when it is used, so it has to
receive gains with the same errors in training. A patch is too small to measure them. Therefore,
scenes are degraded by many kernels before training, and the gains are measured in them. Every patch
is then degraded by one of these kernels, and has the gains that were measured for it, mostly in
another scene.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from decametre.errors import TrainingError
from decametre.options import DRAWN
from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.degradation.degraded_scene import degrade_with_taps
from decametre.superres.degradation.kernels import kernel_taps, random_taps
from decametre.superres.degradation.measured_mtf import MIN_CELLS, measured_gains
from decametre.superres.pixels.scenes import Scene

log = logging.getLogger(__name__)

DRAWS = 10
"""Number of random kernels whose gains are measured in each scene."""

MIN_MEASURED = 0.9
"""Gains are measured in scenes with at least this share of measured pixels."""


@dataclass(frozen=True)
class TrainingKernel:
    """A degradation kernel.

    Attributes:
        taps: For each GSD, the weights of its bands as from `kernels.kernel_taps`.
        gains: (bands of the coarsest GSD), as from `measured_gains` in an image that this kernel
            has degraded; None if the network does not need them.
    """

    taps: Mapping[int, Tensor]
    gains: Tensor | None = None


class TrainingKernels:
    """Chooses the kernel of each training patch.

    Args:
        kernels: Degradation kernels, which alternate: names for `kernel_taps`, or `drawn` for
            random ones.
        bands_in: Band names for each GSD; the coarsest are the target.
        gains: Least and greatest gain of random kernels, see `random_taps`.
    """

    def __init__(
        self,
        kernels: Sequence[str],
        bands_in: Mapping[int, tuple[str, ...]],
        gains: tuple[float, float],
    ) -> None:
        self.kernels, self.bands_in, self.gains = tuple(kernels), bands_in, gains
        self.scale = max(bands_in) // FINEST_GSD
        self.named = {name: self._named(name) for name in kernels if name != DRAWN}

    def choose(self, index: int, random: np.random.Generator) -> TrainingKernel:
        """The kernel of patch number `index`.

        Args:
            index: From 0.
            random: Random numbers of this patch.
        """
        name = self.kernels[index % len(self.kernels)]
        return self._drawn(random) if name == DRAWN else self.named[name]

    def _named(self, name: str) -> TrainingKernel:
        taps = {gsd: kernel_taps(name, names, self.scale) for gsd, names in self.bands_in.items()}
        return TrainingKernel(taps)

    def _drawn(self, random: np.random.Generator) -> TrainingKernel:
        return TrainingKernel(random_taps(self.bands_in, self.scale, self.gains, random))


class MeasuredTrainingKernels(TrainingKernels):
    """Chooses among kernels whose gains were measured.

    Args:
        kernels: See `TrainingKernels`.
        bands_in: See `TrainingKernels`.
        gains: See `TrainingKernels`.
        typical: Typical gain of each of the coarsest bands, see `measured_gains`.
        scenes: Scenes in which the gains are measured.
        seed: Seed of the random kernels.

    Raises:
        TrainingError: No scene is large enough and has enough measured pixels.
    """

    def __init__(
        self,
        kernels: Sequence[str],
        bands_in: Mapping[int, tuple[str, ...]],
        gains: tuple[float, float],
        typical: Sequence[float],
        scenes: Sequence[Scene],
        seed: int,
    ) -> None:
        super().__init__(kernels, bands_in, gains)
        coarsest = max(bands_in)
        self.measured: dict[str, list[TrainingKernel]] = {name: [] for name in kernels}
        for number, scene in enumerate(scenes):
            if scene.valid[coarsest].float().mean() < MIN_MEASURED:
                continue
            random = np.random.default_rng((seed, number))
            candidates = list(self.named.items())
            if DRAWN in kernels:
                candidates += [(DRAWN, self._drawn(random)) for _ in range(DRAWS)]
            for name, kernel in candidates:
                degraded = degrade_with_taps(scene, kernel.taps, MIN_MEASURED)
                image = Scene(scene.name, degraded.degraded, degraded.clean)
                found, cells = measured_gains([image], coarsest, typical)
                if cells >= MIN_CELLS:
                    self.measured[name].append(TrainingKernel(kernel.taps, found))
        counts = {name: len(measured) for name, measured in self.measured.items()}
        if not all(counts.values()):
            raise TrainingError(
                "no product under data.train is large enough to measure its blur at degraded "
                f"scale, with at least {MIN_MEASURED:.0%} of its pixels measured; give others"
            )
        log.info("gains were measured for kernels: %s", counts)

    def choose(self, index: int, random: np.random.Generator) -> TrainingKernel:
        """See `TrainingKernels.choose`."""
        measured = self.measured[self.kernels[index % len(self.kernels)]]
        return measured[random.integers(len(measured))]
