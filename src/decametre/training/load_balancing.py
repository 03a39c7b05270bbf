"""How a global batch is divided among devices of unequal speed, before and during training.

All ranks must compute the same shares from the same numbers. Therefore this is plain arithmetic
without matrix routines, whose last bits differ between CPUs.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

import numpy as np

from decametre.errors import TrainingError

MIN_SLOPE_SHARE = 0.01
"""Least fraction of a step's time, at the largest timed share, that is proportional to samples.

A device that is not fully used takes no longer for more samples, but not for any number of them.
"""

WINDOW_STEPS = 48
"""Steps over which `LoadBalancer` measures. The median follows a change after half of them."""

MIN_WINDOW_STEPS = 5
"""Steps with new shares before they are corrected: the fewest whose median ignores two outliers.

The first steps are slow if a device tunes its kernels to the new size.
"""

DEAD_BAND = 0.05
"""A change of shares must shorten a step by at least this fraction, over a full window."""

MAX_FIXED_SHARE = 1 / 3
"""Largest fraction f of a step's time that `LoadBalancer` assumes to be fixed.

If in truth nothing is fixed, a correction overshoots by f / (1 - f) = 1/2 of the error, and
repeated corrections converge. From f = 1/2 on they could oscillate for ever.
"""

PROBE_TIME_SHARE = 0.01
"""Fraction of the time that may be spent on tests whether a rank without samples has recovered."""


@dataclass(frozen=True)
class Speed:
    """The compute time of a rank's step, as a linear function of its share.

    Attributes:
        fixed: Seconds of a step that do not depend on the number of samples; not negative.
        slope: Seconds for each sample; positive.
        most: Samples that fit into memory; None if there is no limit.
    """

    fixed: float
    slope: float
    most: int | None = None

    def seconds(self, share: int) -> float:
        """Compute time of a step with `share` samples; 0 for a rank without samples."""
        return self.fixed + self.slope * share if share else 0.0


def fit_speed(shares: Sequence[int], seconds: Sequence[float], most: int | None = None) -> Speed:
    """Fit a rank's speed to timed steps, by least squares of the relative errors.

    Repeated measurements of one share count as their median. If other programs use the machine, the
    mean would follow single delays, and the minimum the one moment without other programs, which
    will run during training as well.

    Args:
        shares: Samples of each timed step, at least 1, in any order. Repeats of one share should
            alternate with other shares, so that a busy moment does not affect all of them.
        seconds: Compute time of each step, positive.
        most: See `Speed`.

    Returns:
        The speed: the fixed time is not negative, and the slope is limited by `MIN_SLOPE_SHARE`. If
        all steps have the same share, all of the time counts as slope.
    """
    repeats = defaultdict(list)
    for share, time in zip(shares, seconds, strict=True):
        repeats[share].append(time)
    timed = {share: median(times) for share, times in repeats.items()}
    # Noise grows with the time that it disturbs, so errors are relative: model / time should be 1.
    ones, samples = [1 / t for t in timed.values()], [b / t for b, t in timed.items()]
    aa, ac, cc = _dot(ones, ones), _dot(ones, samples), _dot(samples, samples)
    a, c = math.fsum(ones), math.fsum(samples)
    if len(timed) == 1:
        return Speed(0.0, c / cc, most)
    slope = (aa * c - ac * a) / (aa * cc - ac * ac)
    largest = max(timed)
    slope = max(slope, MIN_SLOPE_SHARE * timed[largest] / largest)
    fixed = (a - slope * ac) / aa
    return Speed(fixed, slope, most) if fixed > 0 else Speed(0.0, c / cc, most)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(left, right, strict=True))


def equal_shares(world: int, batch: int, unit: int = 1) -> list[int]:
    """Shares as equal as the unit permits; the first ranks get the remainder.

    Args:
        world: Number of ranks.
        batch: Samples of the global batch.
        unit: Samples of a micro-batch.

    Raises:
        TrainingError: The batch is not a multiple of the unit.
    """
    return weighted_shares([1] * world, batch, unit)


def weighted_shares(weights: Sequence[float], batch: int, unit: int = 1) -> list[int]:
    """Shares in proportion to weights, rounded by the largest remainder method.

    Args:
        weights: One a rank, not negative.
        batch: Samples of the global batch.
        unit: Samples of a micro-batch.

    Raises:
        TrainingError: The batch is not a multiple of the unit, or no weight is positive.
    """
    units = _count_units(batch, unit)
    if not (all(0 <= weight < math.inf for weight in weights) and any(weights)):
        raise TrainingError(
            f"weights {list(weights)} cannot divide a batch; they must be finite and not negative, "
            "and one of them positive"
        )
    exact = [Fraction(weight) for weight in weights]
    quotas = [units * weight / sum(exact) for weight in exact]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(counts)), key=lambda rank: counts[rank] - quotas[rank])
    for rank in by_remainder[: units - sum(counts)]:
        counts[rank] += 1
    return [count * unit for count in counts]


def optimal_shares(speeds: Sequence[Speed], batch: int, unit: int = 1) -> list[int]:
    """The shares that minimise the time of the slowest rank.

    They are the samples that each rank finishes within the shortest time in which all ranks
    together finish the batch. A rank that cannot finish a single unit in that time gets no samples.

    Args:
        speeds: Speed of each rank.
        batch: Samples of the global batch.
        unit: Samples of a micro-batch; shares are multiples of it.

    Raises:
        TrainingError: The batch is not a multiple of the unit, or does not fit into the memory of
            all ranks together.
    """
    _count_units(batch, unit)
    most = [_capacity(speed, batch) for speed in speeds]
    held = sum(share // unit * unit for share in most)
    if held < batch:
        raise TrainingError(
            f"only {held} samples of a batch of {batch} fit into the devices' memory; set "
            "optimization.micro_batch to accumulate gradients, or lower optimization.batch"
        )
    return _distribute(speeds, [0] * len(speeds), most, batch, unit)


def _count_units(batch: int, unit: int) -> int:
    """Number of units in a batch."""
    units, left = divmod(batch, unit)
    if left:
        raise TrainingError(
            f"a batch of {batch} samples is not a multiple of the micro-batch of {unit}; use "
            f"{(units + 1) * unit}"
        )
    return units


def _capacity(speed: Speed, batch: int) -> int:
    """How many of the batch's samples fit into a rank's memory."""
    return batch if speed.most is None else min(batch, speed.most)


def _distribute(
    speeds: Sequence[Speed], least: Sequence[int], most: Sequence[int], batch: int, unit: int
) -> list[int]:
    """Distribute a batch unit by unit, each to the rank that would then finish first.

    No rank's time falls as its share grows. Therefore this greedy choice takes the shortest of all
    possible times, and no other distribution has a shorter longest time.
    """
    shares = list(least)
    heap: list[tuple[float, int]] = []

    def push(rank: int) -> None:
        if shares[rank] + unit <= most[rank]:
            heapq.heappush(heap, (speeds[rank].seconds(shares[rank] + unit), rank))

    for rank in range(len(speeds)):
        push(rank)
    for _ in range((batch - sum(least)) // unit):
        rank = heapq.heappop(heap)[1]
        shares[rank] += unit
        push(rank)
    return shares


def ranks_to_exclude(
    speeds: Sequence[Speed], batch: int, exchange: Callable[[int], float], unit: int = 1
) -> tuple[tuple[int, ...], float]:
    """Find ranks without which a step would be faster.

    The time of a step is modelled as the slowest rank's compute time with the best shares, plus the
    exchange of gradients.

    Args:
        speeds: Speed of each rank.
        batch: Samples of the global batch.
        exchange: Maps a number of ranks, from 1, to the seconds of an all-reduce among them.
        unit: Samples of a micro-batch.

    Returns:
        The ranks to exclude, none if all ranks help; and how many times faster a step is without
        them, at least 1.

    Raises:
        TrainingError: See `optimal_shares`.
    """

    def step(ranks: Sequence[int]) -> float:
        members = [speeds[rank] for rank in ranks]
        shares = optimal_shares(members, batch, unit)
        return _slowest(members, shares) + exchange(len(ranks))

    everyone = range(len(speeds))
    subsets = [_fastest_ranks(speeds, size, batch, unit) for size in reversed(everyone[1:])]
    best = min([everyone, *(subset for subset in subsets if subset)], key=step)
    return tuple(rank for rank in everyone if rank not in best), step(everyone) / step(best)


def _slowest(speeds: Sequence[Speed], shares: Sequence[int]) -> float:
    return max(speed.seconds(share) for speed, share in zip(speeds, shares, strict=True))


def _fastest_ranks(speeds: Sequence[Speed], size: int, batch: int, unit: int) -> Sequence[int]:
    """The `size` ranks that finish a batch first; empty if it does not fit into their memory.

    Within a given time, the best ranks are those that finish most samples. Bisection finds the time
    in which the best ranks just finish the batch.
    """
    units = _count_units(batch, unit)
    fixed = np.array([speed.fixed for speed in speeds])
    slope = np.array([speed.slope * unit for speed in speeds])
    most = np.array([_capacity(speed, batch) // unit for speed in speeds])

    def best(seconds: float) -> tuple[list[int], bool]:
        finished = np.clip((seconds - fixed) // slope, 0, most)
        fastest = np.argsort(-finished, kind="stable")[:size]
        return fastest.tolist(), bool(finished[fastest].sum() >= units)

    short, long = 0.0, 2 * float((fixed + slope * units).max())
    if not best(long)[1]:
        return []
    while short < (middle := (short + long) / 2) < long:
        short, long = (short, middle) if best(middle)[1] else (middle, long)
    return best(long)[0]


class LoadBalancer:
    """Corrects the shares during training, from the compute times of steps.

    A rank's time is the median of its latest steps. The ratio of fixed time and slope stays as
    fitted before training, up to MAX_FIXED_SHARE; if nothing is fixed, the correction is the rule
    b_r <- b_r * mean(t) / t_r.

    A correction must exceed a dead band, which is wide after a few steps and narrows as
    measurements accumulate: a large change leads to a quick correction, noise to none. One
    correction at most doubles or halves a share (rounded down to units), or raises it from 0 to one
    unit. A rank without samples is assumed to be as slow as last measured,
    and gets one unit again when enough steps have passed for this test to be cheap.

    Args:
        shares: Samples of each rank, multiples of the unit and within memory.
        speeds: Speed of each rank, as fitted before training.
        unit: Samples of a micro-batch.

    Attributes:
        shares: The present shares. Their sum never changes.
        speeds: Speed of each rank, as last measured.
    """

    def __init__(self, shares: Sequence[int], speeds: Sequence[Speed], unit: int = 1) -> None:
        self.shares, self.batch, self.unit = list(shares), sum(shares), unit
        self.fitted, self.speeds = tuple(speeds), list(speeds)
        self.idle = [0] * len(shares)
        self.window: deque[Sequence[float]] = deque(maxlen=WINDOW_STEPS)

    def observe(self, seconds: Sequence[float]) -> None:
        """Record a step.

        Args:
            seconds: Compute time of each rank with the present shares, without waiting for data or
                other ranks; positive for ranks with samples. The short last batch of an epoch must
                not be recorded.
        """
        self.window.append(seconds)
        self.idle = [
            0 if share else idle + 1 for share, idle in zip(self.shares, self.idle, strict=True)
        ]

    def propose(self) -> list[int] | None:
        """Decide whether the shares change before the next step.

        Returns:
            The new shares, which become the present ones; None if nothing changes.
        """
        if len(self.window) < MIN_WINDOW_STEPS:
            return None
        band = self._measure()
        slowest = _slowest(self.speeds, self.shares)
        due = self._due(slowest)
        target = optimal_shares(self.speeds, self.batch, self.unit)
        if not due and _slowest(self.speeds, target) >= slowest * (1 - band):
            return None
        self.shares = self._towards(due)
        self.window.clear()
        return list(self.shares)

    def _measure(self) -> float:
        """Update the ranks' speeds from the window.

        Returns:
            The dead band: at least three standard errors of the noisiest rank's median.
        """
        times = np.array(self.window)
        middle = np.median(times, axis=0)
        spread = np.median(np.abs(times - middle), axis=0)
        noise = 0.0
        for rank, (fitted, share) in enumerate(zip(self.fitted, self.shares, strict=True)):
            if share:
                time = float(middle[rank])
                fixed = time * min(fitted.fixed / fitted.seconds(share), MAX_FIXED_SHARE)
                self.speeds[rank] = Speed(fixed, (time - fixed) / share, fitted.most)
                # A standard deviation is 1.48 median absolute deviations, and the standard error
                # of a median is 1.25 / sqrt(steps) standard deviations.
                noise = max(noise, 1.25 * 1.48 * float(spread[rank]) / time)
        return max(DEAD_BAND * math.sqrt(WINDOW_STEPS), 3 * noise) / math.sqrt(len(times))

    def _due(self, slowest: float) -> list[int]:
        """Ranks without samples for which enough steps have passed to make a test cheap."""
        due = []
        for rank, (speed, share) in enumerate(zip(self.speeds, self.shares, strict=True)):
            lost = MIN_WINDOW_STEPS * max(0.0, speed.seconds(self.unit) / slowest - 1)
            held = _capacity(speed, self.batch) >= self.unit
            if (
                share == 0
                and held
                and self.idle[rank] >= max(WINDOW_STEPS, lost / PROBE_TIME_SHARE)
            ):
                due.append(rank)
        return due

    def _towards(self, due: Sequence[int]) -> list[int]:
        """The best shares within the limits of one correction."""
        least = [share // self.unit // 2 * self.unit for share in self.shares]
        most = [
            min(_capacity(speed, self.batch), max(2 * share, self.unit))
            for speed, share in zip(self.speeds, self.shares, strict=True)
        ]
        for rank in due[: (self.batch - sum(least)) // self.unit]:
            least[rank] = self.unit
        return _distribute(self.speeds, least, most, self.batch, self.unit)


def ideal_throughput(shares: Sequence[int], seconds: Sequence[float]) -> float:
    """Samples a second if no rank ever waited: the sum of the ranks' own throughputs.

    Args:
        shares: Samples of each rank in a step.
        seconds: Compute time of each rank, measured or from `Speed.seconds`; positive for ranks
            with samples.
    """
    return math.fsum(b / t for b, t in zip(shares, seconds, strict=True) if b)


def efficiency(shares: Sequence[int], seconds: Sequence[float], step: float) -> float:
    """Throughput of a job divided by the ideal one; 1 if no rank ever waits.

    Args:
        shares: See `ideal_throughput`.
        seconds: See `ideal_throughput`.
        step: Seconds of a complete step, including the exchange of gradients.
    """
    return sum(shares) / step / ideal_throughput(shares, seconds)
