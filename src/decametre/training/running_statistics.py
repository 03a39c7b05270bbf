"""Running statistics of batch norms that are equal on all ranks and independent of the shares.

torch updates running statistics in each forward pass, separately on each rank, and DDP would keep
those of rank 0. Here each micro-batch contributes its mean and variance; once a step they are
averaged over the global batch, and the running statistics are updated with that average.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from decametre.training.ranks import Ranks


class RunningStatistics:
    """The running statistics of all batch norms of a network.

    Args:
        network: On its device; may have no batch norm.
        ranks: The ranks that train it.
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
        self.previous = self.sums = self.previous_counters = self.momentum = torch.empty(0)
        if self.norms:
            momenta = [norm.momentum for norm in self.norms for _ in range(2)]
            self.momentum = torch.cat(
                [
                    torch.full_like(buffer, momentum)
                    for buffer, momentum in zip(self.buffers, momenta, strict=True)
                    if momentum is not None  # None is a cumulative average, unused in timm
                ]
            )

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """In this context, call `add` after each forward pass to collect its statistics."""
        if not self.norms:
            yield
            return
        # A network has about a hundred such buffers. Flat tensors need few calls, and a GPU can
        # run them without synchronisation.
        self.previous = torch.cat(self.buffers)
        self.previous_counters = torch.stack(self.counters)
        self.sums = torch.zeros_like(self.previous)
        momenta = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 1.0
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum
            self._set(self.previous, self.previous_counters)

    def add(self, count: float) -> None:
        """Collect the statistics of the latest forward pass.

        Args:
            count: Weight of the micro-batch: its number of losses.
        """
        if self.norms:
            self.sums.add_(torch.cat(self.buffers), alpha=count)

    def update(self, count: float) -> None:
        """Update the running statistics with the collected ones of all ranks.

        Args:
            count: Number of losses of the global batch.
        """
        if not self.norms or not count:
            return
        mean = self.ranks.sum_tensor(self.sums / count)
        self._set(self.previous.lerp(mean, self.momentum), self.previous_counters + 1)

    def _set(self, statistics: Tensor, counters: Tensor) -> None:
        parts = torch.split(statistics, self.sizes)
        torch._foreach_copy_(self.buffers, parts)
        torch._foreach_copy_(self.counters, counters.unbind())
