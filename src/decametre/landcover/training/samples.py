"""The samples of the land-cover task: stored patches, and random augmentation for each of them.

All random choices of a sample depend only on the seed and its number: its orientation, the features
that dropout removes, and the patch that it is mixed with. Therefore every division of a batch over
ranks and micro-batches has the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from decametre.landcover.models.classifier import reflectance
from decametre.landcover.patches.images import Images, read_images
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.training.recipe import Mixup

ORIENTATIONS = 8
"""Four rotations by multiples of 90 degrees, without and with a flip."""

SEED_SUFFIX = 1
"""Last number of a sample's seed; the orders of epochs are drawn from (seed, epoch)."""


@dataclass
class LandCoverBatch:
    """The patches of a micro-batch; with mix-up, followed by the patches they are mixed with.

    Attributes:
        dn: uint16, (patches, bands, rows, columns) for each GSD; 0 is nodata.
        offset: float32 DN to add, (patches, bands) for each GSD.
        classes: 0 or 1, (patches, classes).
        turns: Orientation of each patch, 0 to 7, (patches,); None: unchanged.
        kept: Factors of the features, (samples, features); None without dropout.
        parts: Weight of each sample's own patch in its mixture, (samples,); None without mix-up.
        subtracted: Whether the other patch is subtracted.
    """

    dn: dict[int, Tensor]
    offset: dict[int, Tensor]
    classes: Tensor
    turns: Tensor | None = None
    kept: Tensor | None = None
    parts: Tensor | None = None
    subtracted: bool = False

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.classes if self.parts is None else self.parts)

    def pin_memory(self) -> LandCoverBatch:
        """A copy in page-locked memory, from which copies to a GPU are faster."""
        return replace(
            self,
            dn={gsd: dn.pin_memory() for gsd, dn in self.dn.items()},
            offset={gsd: offset.pin_memory() for gsd, offset in self.offset.items()},
            classes=self.classes.pin_memory(),
            kept=None if self.kept is None else self.kept.pin_memory(),
            parts=None if self.parts is None else self.parts.pin_memory(),
        )

    def images(self, device: torch.device, dtype: torch.dtype) -> dict[int, Tensor]:
        """Reflectance as input of the network, (samples, bands, rows, columns) for each GSD."""
        found = {}
        for gsd, dn in self.dn.items():
            raw = dn.to(device, non_blocking=True).to(dtype)
            offset = self.offset[gsd].to(device, dtype, non_blocking=True)
            image = reorient(reflectance(raw, offset), self.turns)
            found[gsd] = self._mixed(image, minus=self.subtracted)
        return found

    def targets(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Target values, (samples, classes)."""
        return self._mixed(self.classes.to(device, dtype, non_blocking=True))

    def factors(self, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """Factors of the features, see `kept`."""
        return None if self.kept is None else self.kept.to(device, dtype, non_blocking=True)

    def _mixed(self, values: Tensor, *, minus: bool = False) -> Tensor:
        if self.parts is None:
            return values
        own, other = values.chunk(2)
        part = self.parts.to(values).reshape(-1, *[1] * (values.ndim - 1))
        return part * own + (part - 1 if minus else 1 - part) * other


def reorient(images: Tensor, turns: Tensor | None) -> Tensor:
    """Flip and rotate each image of a batch.

    Args:
        images: (patches, bands, rows, columns), square.
        turns: (patches,), on the CPU: rotation by `turn % 4` times 90 degrees, from 4 on after a
            flip.
    """
    if turns is None:
        return images
    out = images.clone()
    for turn in range(1, ORIENTATIONS):
        rows = (turns == turn).nonzero().flatten().to(images.device, non_blocking=True)
        if len(rows):
            some = images.index_select(0, rows)
            some = some.flip(-1) if turn >= 4 else some
            out.index_copy_(0, rows, some.rot90(turn % 4, (-2, -1)))
    return out


class LandCoverSamples(Dataset[LandCoverBatch]):
    """The samples of a data set that is repeated in each epoch.

    A sample's number is epoch x length + index; see `order.EpochOrder`.

    Args:
        store: The patches.
        places: Indices of the used patches in the store.
        images: The used images and bands.
        seed: Seed of all random choices.
        turn: Whether patches are flipped and rotated.
        mixup: Distribution and form of mix-up; no mix-up if None.
        dropout: Fraction of the features that are dropped.
        features: Number of features of the network.
    """

    def __init__(
        self,
        store: PatchStore,
        places: np.ndarray,
        images: Sequence[Images],
        seed: int,
        turn: bool,
        mixup: Mixup | None,
        dropout: float,
        features: int,
    ) -> None:
        self.store, self.places, self.chosen, self.seed = store, places, tuple(images), seed
        self.turn, self.mixup, self.dropout, self.features = turn, mixup, dropout, features

    def __len__(self) -> int:
        """Samples of an epoch."""
        return len(self.places)

    def __getitems__(self, numbers: Sequence[int]) -> LandCoverBatch:
        """A micro-batch, by the numbers of its samples; DataLoader calls this once a batch."""
        drawn = [self._draw(number) for number in numbers]
        rows = [number % len(self.places) for number in numbers]
        turns = [own for own, *_ in drawn]
        if self.mixup is not None:
            rows += [other for _, _, _, other, _ in drawn]
            turns += [others for *_, others in drawn]
        batch = read_batch(self.store, self.places[rows], self.chosen)
        batch.turns = torch.tensor(turns, dtype=torch.int64) if self.turn else None
        if self.dropout:
            kept = np.array([kept for _, kept, *_ in drawn]).reshape(len(numbers), self.features)
            batch.kept = torch.from_numpy(kept).float() / (1 - self.dropout)
        if self.mixup is not None:
            batch.parts = torch.tensor([part for _, _, part, *_ in drawn], dtype=torch.float32)
            batch.subtracted = self.mixup.form == "difference"
        return batch

    def _draw(self, number: int) -> tuple[int, np.ndarray, float, int, int]:
        """Orientation, kept features, weight, the other patch, and its orientation."""
        random = np.random.default_rng((self.seed, number, SEED_SUFFIX))
        turn, others = random.integers(ORIENTATIONS, size=2).tolist()
        kept = random.random(self.features if self.dropout else 0, np.float32) >= self.dropout
        if self.mixup is None:
            return turn, kept, 1.0, 0, 0
        part = float(random.beta(self.mixup.alpha, self.mixup.alpha))
        return turn, kept, part, int(random.integers(len(self.places))), others


def read_batch(
    store: PatchStore, places: Sequence[int] | np.ndarray, images: Sequence[Images]
) -> LandCoverBatch:
    """Read stored patches without augmentation.

    Args:
        store: The patches.
        places: Indices in the store; if empty, the batch is empty.
        images: The images and bands to read.
    """
    dn, offset = read_images(store, places, images)
    classes = store.labels[np.asarray(places, np.int64)]
    return LandCoverBatch(
        {gsd: torch.from_numpy(image) for gsd, image in dn.items()},
        {gsd: torch.from_numpy(added) for gsd, added in offset.items()},
        torch.from_numpy(classes),
    )
