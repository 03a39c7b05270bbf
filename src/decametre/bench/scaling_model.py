"""A model of data parallelism on many devices. Its predictions are not measurements.

The time of a step is the compute time, plus the part of a ring all-reduce of the gradients
(Patarasuk and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002) that is not hidden by
back-propagation. All ranks are equally fast, all links are equal, and samples are never late. For
many ranks, libraries use trees instead of rings, whose latency grows more slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BUCKET = 25 * 2**20
"""Bytes of a bucket of gradients in DDP; each adds the latency of a complete round."""

BACKWARD = 2 / 3
"""Fraction of the compute time spent on back-propagation: two of three products of each layer."""

MODEL_RANKS = tuple(2**power for power in range(2, 11))
"""Numbers of ranks for which the model is evaluated: 4 to 1024."""


@dataclass(frozen=True)
class Interconnect:
    """The network between ranks.

    Attributes:
        latency: Seconds of a hop between two ranks. The default is typical of InfiniBand, including
            the communication library.
        bandwidth: Bytes a second of each link. The default is the net rate of 100 Gbit/s.
        overlap: Fraction of the exchange that can run during back-propagation: above 0, because the
            first gradients are complete soon after it begins, and below 1, because the last ones
            are complete when it ends.
    """

    latency: float = 5e-6
    bandwidth: float = 10e9
    overlap: float = 0.5

    def exchange(self, ranks: int, size: int) -> float:
        """Seconds of a ring all-reduce of `size` bytes of gradients."""
        hops = 2 * (ranks - 1)
        pieces = math.ceil(size / BUCKET)
        return hops * pieces * self.latency + hops / ranks * size / self.bandwidth

    def step(self, computing: float, ranks: int, size: int) -> float:
        """Seconds of a step.

        Args:
            computing: Compute time of each rank in seconds.
            ranks: Number of ranks.
            size: Bytes of gradients.
        """
        exchange = self.exchange(ranks, size)
        return computing + exchange - min(self.overlap * exchange, BACKWARD * computing)

    def computing(self, step: float, ranks: int, size: int) -> float:
        """The inverse of `step`: the compute time in a step of `step` seconds."""
        exchange = self.exchange(ranks, size)
        found = step - (1 - self.overlap) * exchange
        if self.overlap * exchange > BACKWARD * found:
            found = max(0.0, step - exchange) / (1 - BACKWARD)
        return found


PUBLISHED = {4: 347, 8: 172, 16: 86, 32: 42, 48: 27, 64: 20, 96: 15}
"""Seconds of an epoch by the number of V100, four a node: Sedona et al. (2019), section 4.2."""

PUBLISHED_BATCH = 64
"""Patches a GPU (section 3.5)."""

PUBLISHED_EPOCH = 311_536
"""Patches of an epoch: 60 % of 519226. The paper does not state which fraction is used for
training; with 90 %, the errors of the model change by less than 0.01."""

PUBLISHED_GRADIENTS = 25_600_000 * 4
"""Bytes of the gradients: the weights of ResNet-50 in float32."""


def published_epochs(interconnect: Interconnect) -> dict[int, float]:
    """The model's seconds of an epoch for the published numbers of GPUs.

    One number, the compute time of a step, is fitted to the published epoch on 4 GPUs; all others
    are predicted.
    """

    def steps(ranks: int) -> float:
        return PUBLISHED_EPOCH / (PUBLISHED_BATCH * ranks)

    first = min(PUBLISHED)
    computing = interconnect.computing(PUBLISHED[first] / steps(first), first, PUBLISHED_GRADIENTS)
    return {
        ranks: interconnect.step(computing, ranks, PUBLISHED_GRADIENTS) * steps(ranks)
        for ranks in PUBLISHED
    }
