"""The samples of each step, and the part of them that belongs to each rank.

A sample is identified by a number; everything random about it depends on the seed and this number.
A step takes a range of one global order of samples, which the ranks split by their shares.
Therefore the same steps see the same samples, each exactly once, for any number of ranks and any
shares, even if these change during a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EndlessOrder:
    """Consecutive numbers without end, for samples that never repeat.

    Attributes:
        batch: Samples of a global batch.
    """

    batch: int

    def samples(self, step: int) -> Sequence[int]:
        """The samples of a step's global batch."""
        return range(step * self.batch, (step + 1) * self.batch)


@dataclass(frozen=True)
class EpochOrder:
    """All samples of a data set, in a new random order each epoch.

    The last batch of an epoch may be short.

    Attributes:
        count: Samples of the data set.
        batch: Samples of a global batch.
        seed: Seed of the random orders.
    """

    count: int
    batch: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.count // self.batch)

    def samples(self, step: int) -> Sequence[int]:
        """The samples of a step's global batch: epoch x count + index in the data set.

        Because a sample's number contains the epoch, augmentation can depend on it.
        """
        epoch, step = divmod(step, self.steps)
        indices = permutation(self.count, self.seed, epoch)
        return (epoch * self.count + indices[step * self.batch : (step + 1) * self.batch]).tolist()


SampleOrder = EndlessOrder | EpochOrder
"""A global order of samples."""


@lru_cache(maxsize=2)
def permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the samples in an epoch, int64, (count,)."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def micro_batches(
    samples: Sequence[int], shares: Sequence[int], rank: int, size: int | None = None
) -> list[Sequence[int]]:
    """A rank's part of a global batch, split into micro-batches.

    Args:
        samples: The global batch. A short one is split in proportion to the shares.
        shares: Samples of each rank in a full batch; multiples of `size` if that is given.
        rank: The rank.
        size: Samples of a micro-batch, whose boundaries do not depend on the shares. By default the
            rank's part is one micro-batch.
    """
    unit = size or 1
    units, full = -(-len(samples) // unit), sum(shares)
    ends = [round(end * units / full) * unit for end in accumulate(shares, initial=0)]
    mine = samples[ends[rank] : ends[rank + 1]]
    step = size or max(1, len(mine))
    return [mine[begin : begin + step] for begin in range(0, len(mine), step)]
