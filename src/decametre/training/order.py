"""Which samples a step takes, and which of them are this rank's.

A sample is a number, and what is drawn for it depends on the seed and the number alone. A step is a
range of a global order of samples; ranks cut it by their shares. So any shares, any number of
ranks and any change of either see the same samples in the same steps, each one once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Endless:
    """Numbers without end: patches at random places are never drawn twice.

    Attributes:
        batch: The global batch.
    """

    batch: int

    def samples(self, step: int) -> Sequence[int]:
        """The samples of one global batch."""
        return range(step * self.batch, (step + 1) * self.batch)


@dataclass(frozen=True)
class Epochs:
    """All samples of a data set in a new order each epoch; an epoch's last batch may be short.

    Attributes:
        count: Samples of the data set.
        batch: The global batch.
        seed: Of the orders.
    """

    count: int
    batch: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.count // self.batch)

    def samples(self, step: int) -> Sequence[int]:
        """The samples of one global batch: epoch x count + place in the data set.

        So a sample's number says in which epoch it is seen, and augmentation can follow from it.
        """
        epoch, step = divmod(step, self.steps)
        places = permutation(self.count, self.seed, epoch)
        return (epoch * self.count + places[step * self.batch : (step + 1) * self.batch]).tolist()


Order = Endless | Epochs
"""A global order of samples."""


@lru_cache(maxsize=2)
def permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def micro_batches(
    samples: Sequence[int], shares: Sequence[int], rank: int, size: int | None = None
) -> list[Sequence[int]]:
    """A rank's part of a global batch, in micro-batches.

    Args:
        samples: Of the global batch; of a short one, ranks get as many in proportion.
        shares: Samples of each rank in a whole batch; with a `size`, multiples of it.
        rank: Whose part.
        size: Of a micro-batch. Where these begin does not depend on the shares. Without, a rank
            takes its part at once.
    """
    unit = size or 1
    units, whole = -(-len(samples) // unit), sum(shares)
    ends = [round(end * units / whole) * unit for end in accumulate(shares, initial=0)]
    mine = samples[ends[rank] : ends[rank + 1]]
    step = size or max(1, len(mine))
    return [mine[begin : begin + step] for begin in range(0, len(mine), step)]
