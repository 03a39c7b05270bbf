"""Running statistics of batch norms, the same on all ranks and however a batch was divided.

torch moves them at each forward pass, each rank its own, and DDP would keep those of rank 0. Here
every micro-batch leaves its mean and variance; once a step, what the whole global batch left is
averaged, and the running statistics move by their momentum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from decametre.training.ranks import Ranks


class RunningStatistics:
    """Of all batch norms of a network that is trained.

    Args:
        network: With batch norms, or without any; on its device.
        ranks: Those who train together.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        self.norms = [
            module
            for module in network.modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats
        ]
        pairs = [(norm.running_mean, norm.running_var) for norm in self.norms]
        self.buffers = [buffer for pair in pairs for buffer in pair if buffer is not None]
        counters = [norm.num_batches_tracked for norm in self.norms]
        self.counters = [counter for counter in counters if counter is not None]
        self.sizes = [len(buffer) for buffer in self.buffers]
        self.before = self.sums = self.counted = self.shares = torch.empty(0)
        if self.norms:
            momenta = [norm.momentum for norm in self.norms for _ in range(2)]
            self.shares = torch.cat(
                [
                    torch.full_like(buffer, momentum)
                    for buffer, momentum in zip(self.buffers, momenta, strict=True)
                    if momentum is not None  # none of timm's is a plain mean over all batches
                ]
            )

    @contextmanager
    def of_micro_batches(self) -> Iterator[None]:
        """A context in which a forward pass leaves its own statistics, and `note` collects them."""
        if not self.norms:
            yield
            return
        # Flat, and by few calls: a network has a hundred such buffers, and a GPU waits for none.
        self.before, self.counted = torch.cat(self.buffers), torch.stack(self.counters)
        self.sums = torch.zeros_like(self.before)
        momenta = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 1.0
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum
            self._set(self.before, self.counted)

    def note(self, count: float) -> None:
        """Keep what the forward pass of a micro-batch left.

        Args:
            count: How many losses it has, by which it counts.
        """
        if self.norms:
            self.sums.add_(torch.cat(self.buffers), alpha=count)

    def merge(self, count: float) -> None:
        """Move the statistics by those of the step, which is taken.

        Args:
            count: How many losses the global batch has.
        """
        if not self.norms or not count:
            return
        of_step = self.ranks.summed(self.sums / count)
        self._set(self.before.lerp(of_step, self.shares), self.counted + 1)

    def _set(self, statistics: Tensor, counted: Tensor) -> None:
        parts = torch.split(statistics, self.sizes)
        torch._foreach_copy_(self.buffers, parts)
        torch._foreach_copy_(self.counters, counted.unbind())
