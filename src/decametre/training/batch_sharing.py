"""Who takes how much of each step: the recipe's shares, or what the ranks' speeds call for.

Every rank measures itself, all get to know all measurements, and each comes to the same decision
by the arithmetic of `shares.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from decametre.errors import TrainingError
from decametre.training import batch_norm
from decametre.training.gradient import Gradient
from decametre.training.load_balancing import (
    Balancer,
    Speed,
    better_without,
    equal_shares,
    fit_speed,
    shares_for,
    weighted_shares,
)
from decametre.training.order import Order, micro_batches
from decametre.training.ranks import Ranks
from decametre.training.recipe import Recipe
from decametre.training.task import Batch, Task

log = logging.getLogger(__name__)

TRIALS = 3
"""How often each trial batch is timed; the machine may be shared."""

LONG = 5.0
"""A trial that takes more seconds is the last; the others wait."""


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

    def sizes(self, step: int) -> list[int]:
        """How many samples of a step each rank has."""
        samples = self.order.samples(step)
        return [
            sum(map(len, micro_batches(samples, self.shares, rank, self.unit)))
            for rank in range(self.ranks.size)
        ]

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
        if batch_norm.synchronised(network):
            # Ranks wait for each other in each norm: how long one computes cannot be seen.
            log.info("synchronised norms: shares stay as they are after these trials")
        else:
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

    def observe(self, seconds: Sequence[float], step: int) -> bool:
        """Note what a step took of each rank's time.

        Args:
            seconds: That each rank computed in that step.
            step: The one before the last.

        Returns:
            Whether the shares change from the next step on.
        """
        if self.balancer is None:
            return False
        if self.stale:  # of a step before the present shares
            self.stale -= 1
            return False
        if self.sizes(step) != self.shares:  # the short last batch of an epoch
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
    """Batches to time for a rank whose equal share is `share` samples: a quarter to twice that."""
    sizes = {max(unit, share * quarters // 4 // unit * unit) for quarters in (1, 2, 4, 8)}
    return sorted(sizes)


def speed_of(
    task: Task[Batch], gradient: Gradient[Batch], sizes: Iterable[int], unit: int | None
) -> Speed:
    """Time forward and backward passes of this rank; weights and buffers stay as they are.

    A GPU is not asked for more than the largest batch that was seen to fit into its memory, unless
    micro-batches bound what it holds at a time.

    Raises:
        TrainingError: Not even the smallest batch fits.
    """
    shares: list[int] = []
    seconds: list[float] = []
    kept = [buffer.clone() for buffer in gradient.network.buffers()]
    for size in sizes:
        parts = micro_batches(range(size), [size], 0, unit)
        batches = next(task.batches(0, 1, lambda step, parts=parts: parts))  # type: ignore[misc]
        try:
            taken = _timed(gradient, batches)
        except torch.OutOfMemoryError as error:
            if not shares:
                raise TrainingError(
                    f"{size} samples do not fit into the memory of {gradient.ranks.device}; lower "
                    "optimization.micro_batch"
                ) from error
            break
        seconds += taken
        shares += [size] * len(taken)
        if min(taken) > LONG:
            break
    gradient.network.zero_grad(set_to_none=True)
    for buffer, before in zip(gradient.network.buffers(), kept, strict=True):
        buffer.copy_(before)
    bounded = gradient.ranks.device.type == "cuda" and unit is None
    return fit_speed(shares, seconds, max(shares) if bounded else None)


def _timed(gradient: Gradient[Batch], batches: Sequence[Batch]) -> list[float]:
    """Seconds of a few passes; the first, in which memory is found, does not count if short."""
    taken: list[float] = []
    for _ in range(TRIALS + 1):
        begun = time.perf_counter()
        gradient.alone(batches)
        taken.append(time.perf_counter() - begun)
        if taken[-1] > LONG:
            return taken[-1:]
    return taken[1:]


def exchange_seconds(network: nn.Module, ranks: Ranks) -> float:
    """How long the ranks take to add up gradients, measured."""
    size = sum(weights.numel() for weights in network.parameters() if weights.requires_grad)
    gradient = torch.zeros(size, device=ranks.device)
    taken = []
    for _ in range(TRIALS):
        ranks.sums([0.0])  # all begin together
        begun = time.perf_counter()
        float(ranks.summed(gradient)[0])
        taken.append(time.perf_counter() - begun)
    return min(taken)


def ring(seconds: float, measured: int, size: int) -> float:
    """The time of a ring all-reduce among `size` ranks, from that among `measured` of them."""
    return seconds * ((size - 1) / size) / ((measured - 1) / measured)
