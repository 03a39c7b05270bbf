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
        network: With batch norms, or without any.
        ranks: Those who train together.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        self.norms = [
            module
            for module in network.modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats
        ]
        self.before = self.sums = torch.empty(0)
        self.tracked: list[int] = []

    @contextmanager
    def of_micro_batches(self) -> Iterator[None]:
        """A context in which a forward pass leaves its own statistics, and `note` collects them."""
        if not self.norms:
            yield
            return
        self.before = self._flat()
        self.sums = torch.zeros_like(self.before)
        self.tracked = [int(norm.num_batches_tracked or 0) for norm in self.norms]
        momenta = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 1.0
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum
            self._set(self.before, 0)

    def note(self, count: float) -> None:
        """Keep what the forward pass of a micro-batch left.

        Args:
            count: How many losses it has, by which it counts.
        """
        if self.norms:
            self.sums.add_(self._flat(), alpha=count)

    def merge(self, count: float) -> None:
        """Move the statistics by those of the step, which is taken.

        Args:
            count: How many losses the global batch has.
        """
        if not self.norms or not count:
            return
        of_step = self.ranks.summed(self.sums / count)
        shares = torch.cat(
            [
                # Without momentum torch means the plain mean over all steps.
                torch.full_like(buffer, norm.momentum or 1 / (tracked + 1))
                for norm, tracked in zip(self.norms, self.tracked, strict=True)
                for buffer in _statistics(norm)
            ]
        )
        self._set(self.before.lerp(of_step, shares), 1)

    def _flat(self) -> Tensor:
        return torch.cat([buffer for norm in self.norms for buffer in _statistics(norm)])

    def _set(self, values: Tensor, more: int) -> None:
        for norm, tracked in zip(self.norms, self.tracked, strict=True):
            mean, variance = _statistics(norm)
            channels = len(mean)
            mean.copy_(values[:channels])
            variance.copy_(values[channels : 2 * channels])
            values = values[2 * channels :]
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.fill_(tracked + more)


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
