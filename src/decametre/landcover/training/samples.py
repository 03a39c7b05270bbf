"""What a step of land cover sees: patches as stored, and what is drawn for each of them.

All that is random about a sample follows from the seed and its number alone: how it is turned,
which features dropout leaves out, with which patch it is mixed. So any division of a batch over
ranks and micro-batches sees the same.
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
"""Four turns by 90 degrees, as they are and flipped."""

SEED_SUFFIX = 1
"""Ends the seed of a sample, for orders of epochs are drawn from (seed, epoch)."""


@dataclass
class LandCoverBatch:
    """Patches of a micro-batch; with mix-up, the patches they are mixed with after them.

    Attributes:
        dn: uint16, (patches, bands, rows, columns) for each GSD; 0 is nodata.
        offset: float32 DN to add, (patches, bands) for each GSD.
        classes: 0 or 1, (patches, classes).
        turns: How each is turned, (patches,), 0 to 7; None: not at all.
        kept: Factors of the features, (samples, features); None without dropout.
        parts: Part of each sample's own patch in its mixture, (samples,); None without mix-up.
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
        """How many samples it has."""
        return len(self.classes if self.parts is None else self.parts)

    def pin_memory(self) -> LandCoverBatch:
        """The same in memory from which a GPU copies on its own."""
        return replace(
            self,
            dn={gsd: dn.pin_memory() for gsd, dn in self.dn.items()},
            offset={gsd: offset.pin_memory() for gsd, offset in self.offset.items()},
            classes=self.classes.pin_memory(),
            kept=None if self.kept is None else self.kept.pin_memory(),
            parts=None if self.parts is None else self.parts.pin_memory(),
        )

    def images(self, device: torch.device, dtype: torch.dtype) -> dict[int, Tensor]:
        """Reflectance as the network sees it, (samples, bands, rows, columns) for each GSD."""
        found = {}
        for gsd, dn in self.dn.items():
            raw = dn.to(device, non_blocking=True).to(dtype)
            offset = self.offset[gsd].to(device, dtype, non_blocking=True)
            image = reorient(reflectance(raw, offset), self.turns)
            found[gsd] = self._mixed(image, minus=self.subtracted)
        return found

    def targets(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """What the network should say, (samples, classes)."""
        return self._mixed(self.classes.to(device, dtype, non_blocking=True))

    def factors(self, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """See `kept`."""
        return None if self.kept is None else self.kept.to(device, dtype, non_blocking=True)

    def _mixed(self, values: Tensor, *, minus: bool = False) -> Tensor:
        if self.parts is None:
            return values
        own, other = values.chunk(2)
        part = self.parts.to(values).reshape(-1, *[1] * (values.ndim - 1))
        return part * own + (part - 1 if minus else 1 - part) * other


def reorient(images: Tensor, turns: Tensor | None) -> Tensor:
    """Flip and turn each image of a batch.

    Args:
        images: (patches, bands, rows, columns), square.
        turns: (patches,), on the processor; `turn % 4` times 90 degrees, flipped before from 4 on.
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
    """The samples of a data set that is seen again and again.

    A sample's number is epoch x length + place; see `order.Epochs`.

    Args:
        store: The patches.
        places: In the store, of those that are taken.
        images: Which images and bands.
        seed: Of all that is drawn.
        turn: Whether patches are flipped and turned.
        mixup: With which parts patches are mixed; not at all without.
        dropout: Share of the features that are left out.
        features: How many the network has.
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
        """A micro-batch, by the numbers of its samples. DataLoader asks so for all at once."""
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
        """A sample's turn, the features kept, its part, the other patch and that one's turn."""
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
    """Patches as they are stored.

    Args:
        store: The patches.
        places: In the store; none make an empty batch.
        images: Which images and bands.
    """
    dn, offset = read_images(store, places, images)
    classes = store.labels[np.asarray(places, np.int64)]
    return LandCoverBatch(
        {gsd: torch.from_numpy(image) for gsd, image in dn.items()},
        {gsd: torch.from_numpy(added) for gsd, added in offset.items()},
        torch.from_numpy(classes),
    )
