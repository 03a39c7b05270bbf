"""Which samples a step takes, and which of them are this rank's.

A sample is a number, and what is drawn for it depends on the seed and the number alone. A step is a
range of a global order of samples; ranks cut it by their shares. So any shares, any number of
ranks and any change of either see the same samples in the same steps, each one once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np


class Order(Protocol):
    """A global order of samples."""

    def samples(self, step: int) -> Sequence[int]:
        """The samples of one global batch, by their numbers."""
        ...


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
    """All samples of a data set in a new order each epoch; the last batch of one may be short.

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
        """The samples of one global batch: their places in the data set."""
        epoch, step = divmod(step, self.steps)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        return order[step * self.batch : (step + 1) * self.batch].tolist()


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
