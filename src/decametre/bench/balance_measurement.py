"""What `bench balance` measures, and how it is computed from the steps of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, mode

from decametre.training.observer import StepTimes

WARM_UP = 15
"""Steps of `auto` before those that count, in which the shares settle."""

WARM_UP_FIXED = 3
"""Steps of the other runs before those that count: memory is allocated, kernels are chosen."""


@dataclass(frozen=True)
class BalanceMeasurement:
    """Throughput of ranks alone, with equal shares and with shares by speed.

    Attributes:
        ratio: Requested ratio of speeds: rank 1 shares its core with `ratio` - 1 other processes.
        turn: Number of the repetition, from 0.
        batch: Samples of a step.
        alone: Samples a second of each rank if it trains alone.
        equal: Samples a second with equal shares.
        auto: Samples a second with shares by speed.
        shares: Most frequent shares of `auto`.
        trials: Seconds of the speed trials before the first step of `auto`; not part of its rate.
        exchange: Fraction of the time of `auto` spent in the exchange before each step, on the rank
            that arrives last and so waits for nobody.
        balancing: Fraction of the time of `auto` spent on computing shares and, after a change, on
            preparing samples again.
        computing: Fraction of the time of `auto` in which each rank computes, in the median step.
        others: Fraction of the two cores' time used by other programs, in the worst of the runs.
    """

    ratio: int
    turn: int
    batch: int
    alone: tuple[float, float]
    equal: float
    auto: float
    shares: tuple[int, ...]
    trials: float
    exchange: float
    balancing: float
    computing: tuple[float, ...]
    others: float

    @property
    def ideal(self) -> float:
        """Samples a second without any waiting or exchange."""
        return sum(self.alone)

    @property
    def measured_ratio(self) -> float:
        """How many times faster rank 0 is than rank 1."""
        return self.alone[0] / self.alone[1]


@dataclass(frozen=True)
class SpeedChange:
    """A run in which rank 1 slows down and recovers.

    Attributes:
        ratio: See `BalanceMeasurement`.
        slowed: The last step before the other processes were started.
        recovered: The last step before they were stopped.
        shares: Share of rank 1 in each step, from step 1.
        fitting: The share of the slow rank 1 that matches the speeds of both ranks alone.
        others: See `BalanceMeasurement`.
    """

    ratio: int
    slowed: int
    recovered: int
    shares: tuple[int, ...]
    fitting: float
    others: float


def summarise(
    ratio: int,
    turn: int,
    batch: int,
    *,
    alone: Sequence[Sequence[StepTimes]],
    equal: Sequence[StepTimes],
    auto: Sequence[Sequence[StepTimes]],
    others: float,
) -> BalanceMeasurement:
    """Compute a measurement from the steps of its runs.

    Args:
        ratio: See `BalanceMeasurement`.
        turn: See `BalanceMeasurement`.
        batch: See `BalanceMeasurement`.
        alone: Steps of each rank alone, from step 0.
        equal: Steps of rank 0 with equal shares, from step 0.
        auto: Steps of each rank with shares by speed, from step 0.
        others: See `BalanceMeasurement`.
    """
    exchange, balancing = balancing_costs(auto)
    counted = auto[0][WARM_UP + 1 :]
    length = (counted[-1].ended - auto[0][WARM_UP].ended) / len(counted)
    return BalanceMeasurement(
        ratio=ratio,
        turn=turn,
        batch=batch,
        alone=simultaneous_rates(alone, batch),
        equal=samples_per_second(equal[WARM_UP_FIXED:], batch),
        auto=samples_per_second(auto[0][WARM_UP:], batch),
        shares=mode(step.shares for step in counted),
        trials=auto[0][0].balancing,
        exchange=exchange,
        balancing=balancing,
        computing=tuple(
            median(seconds) / length
            for seconds in zip(*(step.computing for step in counted), strict=True)
        ),
        others=others,
    )


def samples_per_second(steps: Sequence[StepTimes], batch: int) -> float:
    """Throughput from the end of the first of some steps to the end of the last."""
    return (len(steps) - 1) * batch / (steps[-1].ended - steps[0].ended)


def simultaneous_rates(ranks: Sequence[Sequence[StepTimes]], batch: int) -> tuple[float, float]:
    """Throughputs of two ranks that train alone, during the time in which both do.

    Args:
        ranks: Steps of each rank, from step 0.
        batch: Samples of a step.
    """
    begun = max(steps[WARM_UP_FIXED].ended for steps in ranks)
    ended = min(steps[-1].ended for steps in ranks)
    fast, slow = (
        samples_per_second([step for step in steps if begun <= step.ended <= ended], batch)
        for steps in ranks
    )
    return fast, slow


def balancing_costs(ranks: Sequence[Sequence[StepTimes]]) -> tuple[float, float]:
    """The costs of balancing, as fractions of the time of training.

    Args:
        ranks: Steps of each rank, from step 0.

    Returns:
        The exchange before each step, which also sums the losses, on the rank that finishes it
        first, because the others wait for that rank. And the balancing: the longest computation of
        shares of all ranks, plus, after a change of shares, the time that the slowest rank needs
        for its samples in addition to that of its median step.
    """
    first, *_ = ranks
    total = first[-1].ended - first[0].ended
    usual = [median(step.waiting for step in steps[1:]) for steps in ranks]
    exchange, balancing = 0.0, 0.0
    for before, *of_step in zip(first, *(steps[1:] for steps in ranks), strict=False):
        exchange += min(step.exchange for step in of_step)
        balancing += max(step.balancing for step in of_step)
        if of_step[0].shares != before.shares:
            extra = (step.waiting - normal for step, normal in zip(of_step, usual, strict=True))
            balancing += max(0.0, *extra)
    return exchange / total, balancing / total
