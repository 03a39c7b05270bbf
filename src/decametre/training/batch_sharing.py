"""The ranks' shares of the global batch: fixed by the recipe, or chosen by measured speed.

Each rank measures itself, all measurements are exchanged, and every rank computes the same shares
from them with the arithmetic of `load_balancing.py`.
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
    LoadBalancer,
    Speed,
    equal_shares,
    fit_speed,
    optimal_shares,
    ranks_to_exclude,
    weighted_shares,
)
from decametre.training.order import SampleOrder, micro_batches
from decametre.training.ranks import Ranks
from decametre.training.recipe import Recipe
from decametre.training.task import Batch, Task

log = logging.getLogger(__name__)

TRIAL_REPEATS = 3
"""How often each trial batch is timed; other programs may use the machine at the same time."""

LONG_TRIAL = 5.0
"""If a trial takes more seconds than this, it is the last one, because the other ranks wait."""


class BatchSharing:
    """The shares of the global batch, one a rank.

    Args:
        recipe: Its `distribution.balance` determines the shares.
        ranks: The ranks that train together.
        order: Order of the samples.

    Attributes:
        shares: Samples of each rank in a full batch.

    Raises:
        TrainingError: The batch cannot be divided as requested.
    """

    def __init__(self, recipe: Recipe, ranks: Ranks, order: SampleOrder) -> None:
        self.ranks, self.order, self.rank = ranks, order, ranks.rank
        self.batch, self.unit = recipe.optimization.batch, recipe.optimization.micro_batch
        balance = recipe.distribution.balance
        self.automatic = balance == "auto" and ranks.size > 1
        if isinstance(balance, str):
            self.shares = equal_shares(ranks.size, self.batch, self.unit or 1)
        elif len(balance) != ranks.launched.size:
            raise TrainingError(
                f"distribution.balance has {len(balance)} weights for {ranks.launched.size} ranks; "
                "give one weight a rank, or auto"
            )
        else:
            weights = [balance[rank] for rank in ranks.launch_ranks]
            if not any(weights):  # the ranks with a share ended
                weights = [1.0] * ranks.size
            self.shares = weighted_shares(weights, self.batch, self.unit or 1)
        self.speeds: Sequence[Speed] = ()
        self.balancer: LoadBalancer | None = None
        self.ignored_steps = 1

    def rank_samples(self, step: int) -> list[Sequence[int]]:
        """This rank's samples of a step, in micro-batches."""
        return micro_batches(self.order.samples(step), self.shares, self.ranks.rank, self.unit)

    def sizes(self, step: int) -> list[int]:
        """How many samples of a step each rank has; fewer than its share in a short batch."""
        samples = self.order.samples(step)
        return [
            sum(map(len, micro_batches(samples, self.shares, rank, self.unit)))
            for rank in range(self.ranks.size)
        ]

    def own_speed(self) -> Speed | None:
        """The speed of this rank as last measured; None if it has not been measured."""
        speeds = self.speeds if self.balancer is None else self.balancer.speeds
        return speeds[self.rank] if speeds else None

    def measure_speeds(
        self, task: Task[Batch], gradient: Gradient[Batch], known: Speed | None = None
    ) -> None:
        """Set the shares by the ranks' speeds if the recipe requests it.

        All ranks compute trial batches at the same time, as in training.

        Args:
            task: Makes the trial batches.
            gradient: Computes them.
            known: Speed of this rank. Nothing is measured if all ranks know theirs.
        """
        if not self.automatic:
            return
        network = gradient.network
        speeds: list[Speed] = self.ranks.gather(known)
        if None in speeds:
            sizes = trial_sizes(max(self.shares), self.unit or 1)
            speeds = self.ranks.gather(measure_speed(task, gradient, sizes, self.unit))
        self.speeds = speeds
        self.shares = optimal_shares(speeds, self.batch, self.unit or 1)
        if batch_norm.synchronised_norms(network):
            # Ranks wait for each other in each norm, so their compute time cannot be measured.
            log.info("synchronised norms: the shares will not be corrected during training")
        else:
            self.balancer = LoadBalancer(self.shares, speeds, self.unit or 1)
        exchange = measure_all_reduce(network, self.ranks)
        if self.ranks.is_first:
            self._log_speeds(speeds, exchange)

    def _log_speeds(self, speeds: Sequence[Speed], exchange: float) -> None:
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
        slow, gain = ranks_to_exclude(
            speeds,
            self.batch,
            lambda size: ring_seconds(exchange, self.ranks.size, size),
            self.unit or 1,
        )
        if slow:
            log.warning(
                "without rank %s a step would be %.2f times faster",
                ", ".join(map(str, slow)),
                gain,
            )

    def observe(self, seconds: Sequence[float], step: int) -> bool:
        """Record the compute times of a step, and correct the shares if that pays off.

        Args:
            seconds: Compute time of each rank in that step.
            step: Number of the step: the one before the last.

        Returns:
            Whether the shares change from the next step on.
        """
        if self.balancer is None:
            return False
        if self.ignored_steps:  # its shares were different
            self.ignored_steps -= 1
            return False
        if self.sizes(step) != self.shares:  # the short last batch of an epoch
            return False
        self.balancer.observe(seconds)
        proposed = self.balancer.propose()
        if proposed is None:
            return False
        self.shares, self.ignored_steps = proposed, 1
        if self.ranks.is_first:
            log.info("shares are now %s of %d", ", ".join(map(str, proposed)), self.batch)
        return True


def trial_sizes(share: int, unit: int) -> list[int]:
    """Sizes of trial batches: a quarter of the equal share, a half, all of it and twice as much."""
    sizes = {max(unit, share * quarters // 4 // unit * unit) for quarters in (1, 2, 4, 8)}
    return sorted(sizes)


def measure_speed(
    task: Task[Batch], gradient: Gradient[Batch], sizes: Iterable[int], unit: int | None
) -> Speed:
    """Time forward and backward passes of this rank. Weights and buffers do not change.

    The resulting limit for a GPU is the largest batch that fitted into its memory, unless
    micro-batches limit the samples that it holds at a time.

    Args:
        task: Makes the trial batches.
        gradient: Computes the passes; its clock times them.
        sizes: Samples of the trial batches, in rising order.
        unit: Samples of a micro-batch.

    Raises:
        TrainingError: Not even the smallest batch fits into memory.
    """
    shares: list[int] = []
    seconds: list[float] = []
    buffers = [buffer.clone() for buffer in gradient.network.buffers()]
    for size in sizes:
        parts = micro_batches(range(size), [size], 0, unit)
        batches = next(task.batches(0, 1, lambda step, parts=parts: parts))  # type: ignore[misc]
        try:
            times = _time_passes(gradient, batches)
        except torch.OutOfMemoryError as error:
            if not shares:
                raise TrainingError(
                    f"{size} samples do not fit into the memory of {gradient.ranks.device}; lower "
                    "optimization.micro_batch"
                ) from error
            break
        seconds += times
        shares += [size] * len(times)
        if min(times) > LONG_TRIAL:
            break
    gradient.network.zero_grad(set_to_none=True)
    for buffer, before in zip(gradient.network.buffers(), buffers, strict=True):
        buffer.copy_(before)
    limited = gradient.ranks.device.type == "cuda" and unit is None
    return fit_speed(shares, seconds, max(shares) if limited else None)


def _time_passes(gradient: Gradient[Batch], batches: Sequence[Batch]) -> list[float]:
    """Seconds of a few passes. The first one allocates memory and is not counted, unless long."""
    clock = gradient.timer.clock
    times: list[float] = []
    for _ in range(TRIAL_REPEATS + 1):
        begun = clock()
        gradient.compute_alone(batches)
        times.append(clock() - begun)
        if times[-1] > LONG_TRIAL:
            return times[-1:]
    return times[1:]


def measure_all_reduce(network: nn.Module, ranks: Ranks) -> float:
    """Seconds in which the ranks sum the gradients of a network."""
    size = sum(weights.numel() for weights in network.parameters() if weights.requires_grad)
    gradient = torch.zeros(size, device=ranks.device)
    times = []
    for _ in range(TRIAL_REPEATS):
        ranks.sum([0.0])  # all ranks begin together
        begun = time.perf_counter()
        float(ranks.sum_tensor(gradient)[0])
        times.append(time.perf_counter() - begun)
    return min(times)


def ring_seconds(seconds: float, measured: int, size: int) -> float:
    """Seconds of a ring all-reduce among `size` ranks, given those among `measured` ranks."""
    return seconds * ((size - 1) / size) / ((measured - 1) / measured)
