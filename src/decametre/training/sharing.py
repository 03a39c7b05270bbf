"""Who takes how much of each step: the recipe's shares, or what the ranks' speeds call for.

Every rank measures itself, all get to know all measurements, and each comes to the same decision
by the arithmetic of `shares.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import nn

from decametre.errors import TrainingError
from decametre.training.gradient import Gradient
from decametre.training.order import Order, micro_batches
from decametre.training.ranks import Ranks
from decametre.training.recipe import Recipe
from decametre.training.shares import (
    Balancer,
    Speed,
    better_without,
    equal_shares,
    fit_speed,
    shares_for,
    weighted_shares,
)
from decametre.training.task import Batch, Task

log = logging.getLogger(__name__)

TRIALS = 3
"""How often each trial batch is timed; the machine may be shared."""


class Sharing:
    """The shares of the global batch, one a rank.

    Args:
        recipe: Says how to share.
        ranks: Who shares.
        order: Of the samples.

    Raises:
        TrainingError: The batch cannot be shared so.
    """

    def __init__(self, recipe: Recipe, ranks: Ranks, order: Order) -> None:
        self.ranks, self.order = ranks, order
        self.batch, self.unit = recipe.optimization.batch, recipe.optimization.micro_batch
        balance = recipe.distribution.balance
        self.automatic = balance == "auto" and ranks.size > 1
        if isinstance(balance, str):
            self.shares = equal_shares(ranks.size, self.batch, self.unit or 1)
        elif len(balance) != ranks.size:
            raise TrainingError(
                f"distribution.balance has {len(balance)} weights for {ranks.size} ranks; give one "
                "a rank, or auto"
            )
        else:
            self.shares = weighted_shares(balance, self.batch, self.unit or 1)
        self.balancer: Balancer | None = None
        self.stale = 1

    def parts(self, step: int) -> list[Sequence[int]]:
        """This rank's samples of a step, in micro-batches."""
        return micro_batches(self.order.samples(step), self.shares, self.ranks.rank, self.unit)

    def measure(self, task: Task[Batch], gradient: Gradient[Batch]) -> None:
        """Share by speed from the first step on, where the recipe asks for it.

        All ranks compute trial batches at the same time, as in training.
        """
        if not self.automatic:
            return
        network = gradient.network
        mine = speed_of(task, gradient, trial_sizes(max(self.shares), self.unit or 1), self.unit)
        speeds: list[Speed] = self.ranks.gathered(mine)
        self.shares = shares_for(speeds, self.batch, self.unit or 1)
        self.balancer = Balancer(self.shares, speeds, self.unit or 1)
        seconds = exchange_seconds(network, self.ranks)
        if not self.ranks.first:
            return
        for rank, (speed, share) in enumerate(zip(speeds, self.shares, strict=True)):
            log.info(
                "rank %d, %s: %.1f samples/s and %.3f s a step, share %d of %d",
                rank,
                self.ranks.devices[rank],
                1 / speed.slope,
                speed.fixed,
                share,
                self.batch,
            )
        slow, gain = better_without(
            speeds, self.batch, lambda size: ring(seconds, self.ranks.size, size), self.unit or 1
        )
        if slow:
            log.warning(
                "without rank %s a step would take %.2f times less time",
                ", ".join(map(str, slow)),
                gain,
            )

    def observe(self, seconds: Sequence[float]) -> bool:
        """Note what a step took of each rank's time.

        Args:
            seconds: That each rank computed in the step before the last.

        Returns:
            Whether the shares change from the next step on.
        """
        if self.balancer is None:
            return False
        if self.stale:  # of a step before the present shares
            self.stale -= 1
            return False
        self.balancer.observe(seconds)
        proposed = self.balancer.propose()
        if proposed is None:
            return False
        self.shares, self.stale = proposed, 1
        if self.ranks.first:
            log.info("shares are now %s of %d", ", ".join(map(str, proposed)), self.batch)
        return True


def trial_sizes(share: int, unit: int) -> list[int]:
    """Batches to time for a rank that may get about `share` samples: a quarter to all of it."""
    sizes = {max(unit, share * part // 4 // unit * unit) for part in (1, 2, 4)}
    return sorted(sizes)


def speed_of(
    task: Task[Batch], gradient: Gradient[Batch], sizes: Iterable[int], unit: int | None
) -> Speed:
    """Time forward and backward passes of this rank; weights and buffers stay as they are.

    Where a batch does not fit into a GPU's memory, the largest before it is `Speed.most`.
    """
    shares: list[int] = []
    seconds: list[float] = []
    most = None
    kept = [buffer.clone() for buffer in gradient.network.buffers()]
    for size in sizes:
        parts = micro_batches(range(size), [size], 0, unit)
        batches = next(task.batches(0, 1, lambda step, parts=parts: parts))  # type: ignore[misc]
        try:
            gradient.alone(batches)  # the first of a size is slow
            for _ in range(TRIALS):
                begun = time.perf_counter()
                gradient.alone(batches)
                seconds.append(time.perf_counter() - begun)
                shares.append(size)
        except torch.OutOfMemoryError:
            most = max(shares, default=0)
            break
    gradient.network.zero_grad(set_to_none=True)
    for buffer, before in zip(gradient.network.buffers(), kept, strict=True):
        buffer.copy_(before)
    return fit_speed(shares, seconds, most)


def exchange_seconds(network: nn.Module, ranks: Ranks) -> float:
    """How long the ranks take to add up gradients, measured."""
    size = sum(weights.numel() for weights in network.parameters() if weights.requires_grad)
    gradient = torch.zeros(size, device=ranks.device)
    taken = []
    for _ in range(TRIALS):
        ranks.sums([0.0])  # all begin together
        begun = time.perf_counter()
        dist.all_reduce(gradient, group=ranks.gradients)
        float(gradient[0])
        taken.append(time.perf_counter() - begun)
    return min(taken)


def ring(seconds: float, measured: int, size: int) -> float:
    """The time of a ring all-reduce among `size` ranks, from that among `measured` of them."""
    return seconds * ((size - 1) / size) / ((measured - 1) / measured)
