"""A model of data parallelism on many devices: what it predicts is no measurement.

A step is computing, plus what is left to wait for when gradients go round a ring of all ranks
(Patarasuk and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002) while back-propagation still
runs. Ranks are equally fast, all links of the ring are alike, and data never are late. Libraries
take trees in place of rings on many ranks, whose latency grows less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BUCKET = 25 * 2**20
"""Gradients travel in pieces of so many bytes, each with the latency of a whole round: DDP's."""

BACKWARD = 2 / 3
"""Share of a step's computing that is back-propagation: two products a layer, and one forward."""

MODEL_RANKS = tuple(2**power for power in range(2, 11))
"""4 to 1024."""


@dataclass(frozen=True)
class Interconnect:
    """What gradients travel through.

    Attributes:
        latency: Seconds of a hop from rank to rank. The default is that of one over InfiniBand,
            the library's part with it.
        bandwidth: Bytes a second of each link. The default is what is left of 100 Gbit/s.
        overlap: Share of the exchange that can run during back-propagation. The first gradients are
            there when it has begun, the last ones when it has ended: neither 0 nor 1.
    """

    latency: float = 5e-6
    bandwidth: float = 10e9
    overlap: float = 0.5

    def exchange(self, ranks: int, size: int) -> float:
        """Seconds to add up `size` bytes of gradients over a ring of ranks."""
        hops = 2 * (ranks - 1)
        pieces = math.ceil(size / BUCKET)
        return hops * pieces * self.latency + hops / ranks * size / self.bandwidth

    def step(self, computing: float, ranks: int, size: int) -> float:
        """Seconds of a step.

        Args:
            computing: Seconds that each rank computes in it.
            ranks: How many there are.
            size: Bytes of gradients.
        """
        exchange = self.exchange(ranks, size)
        return computing + exchange - min(self.overlap * exchange, BACKWARD * computing)

    def computing(self, step: float, ranks: int, size: int) -> float:
        """The inverse of `step`: seconds of computing in a step of so many seconds."""
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
"""60 % of its 519226 patches. The paper does not say what share is trained on; with 90 %, the
model's errors change by less than one hundredth."""

PUBLISHED_GRADIENTS = 25_600_000 * 4
"""Bytes: the weights of ResNet-50 in float32."""


def published_epochs(interconnect: Interconnect) -> dict[int, float]:
    """What the model says to the published seconds of an epoch.

    One number, the computing in a step, is taken from the published epoch on 4 GPUs; all others
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
