"""How a global batch is divided among unequal devices, before training and while it goes on.

Plain arithmetic without matrix routines, whose last bits differ from processor to processor: every
rank comes to the same decision from the same numbers.
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
"""The part of a step, at the largest share that was timed, that counts as slope, at least.

A device that is not full takes no longer for more; it does not do any number in that time.
"""

WINDOW_STEPS = 48
"""Steps over which the `LoadBalancer` measures. The median follows a device after half of them."""

MIN_WINDOW_STEPS = 5
"""Steps at new shares before they are judged: the fewest whose median ignores two of them.

The first ones are slow where a device tunes its kernels to the new size.
"""

DEAD_BAND = 0.05
"""A step must become this part shorter for shares to change, measured over a full window."""

MAX_FIXED_SHARE = 1 / 3
"""The part of a step's time that the `LoadBalancer` takes for fixed, at most.

Were none of it fixed, a correction would overshoot by FIXED / (1 - FIXED) = 1/2 of the error, and
the next ones converge. From 1/2 on they could swing for ever.
"""

PROBE_TIME_SHARE = 0.01
"""Part of the time that may go into trying whether a rank without samples has recovered."""


@dataclass(frozen=True)
class Speed:
    """The compute time of a rank's step: a straight line over its share.

    Attributes:
        fixed: Seconds a step with samples costs, however few; from 0.
        slope: Seconds a sample; more than 0.
        most: Samples that the memory holds; None where that is no limit.
    """

    fixed: float
    slope: float
    most: int | None = None

    def seconds(self, share: int) -> float:
        """Compute time of a step with `share` samples.

        Without samples it is 0: such a rank goes straight to the exchange of gradients.
        """
        return self.fixed + self.slope * share if share else 0.0


def fit_speed(shares: Sequence[int], seconds: Sequence[float], most: int | None = None) -> Speed:
    """Fit a rank's speed to timed steps, by least squares of the relative errors.

    Repeats at one share count as their median. On a machine that others use, the mean follows
    single delays; the minimum finds the one moment without the others, which do not go away in
    training.

    Args:
        shares: Samples in each timed step, from 1, in any order. Repeats should take turns with
            other shares, so that a busy moment does not meet all repeats of one.
        seconds: Compute time of each, more than 0.
        most: See `Speed`.

    Returns:
        The speed: its fixed cost from 0, its slope from FLAT. Steps at one share alone do not tell
        the two apart; all then counts as slope.
    """
    repeats = defaultdict(list)
    for share, time in zip(shares, seconds, strict=True):
        repeats[share].append(time)
    timed = {share: median(times) for share, times in repeats.items()}
    # Noise grows with what it disturbs, so errors are relative: the model over the time is 1.
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
    """Shares as equal as units allow; the first ranks have what is left over.

    Args:
        world: Ranks.
        batch: Samples of the global batch.
        unit: Samples of a micro-batch.

    Raises:
        TrainingError: The batch is not a whole number of units.
    """
    return weighted_shares([1] * world, batch, unit)


def weighted_shares(weights: Sequence[float], batch: int, unit: int = 1) -> list[int]:
    """Shares in proportion to weights, rounded by the largest remainder.

    Args:
        weights: One a rank, from 0.
        batch: Samples of the global batch.
        unit: Samples of a micro-batch.

    Raises:
        TrainingError: The batch is not a whole number of units, or no weight is above 0.
    """
    units = _count_units(batch, unit)
    if not (all(0 <= weight < math.inf for weight in weights) and any(weights)):
        raise TrainingError(
            f"weights {list(weights)} divide no batch; give every rank a number from 0, and one "
            "of them more than 0"
        )
    exact = [Fraction(weight) for weight in weights]
    quotas = [units * weight / sum(exact) for weight in exact]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(counts)), key=lambda rank: counts[rank] - quotas[rank])
    for rank in by_remainder[: units - sum(counts)]:
        counts[rank] += 1
    return [count * unit for count in counts]


def optimal_shares(speeds: Sequence[Speed], batch: int, unit: int = 1) -> list[int]:
    """The shares whose slowest rank is done soonest.

    They are what the ranks finish within one time tau, the least in which they finish the batch.
    A rank that cannot finish a single unit within tau gets none.

    Args:
        speeds: One a rank.
        batch: Samples of the global batch.
        unit: Samples of a micro-batch; shares are multiples of it.

    Raises:
        TrainingError: The batch is not a whole number of units, or the ranks' memory together
            does not hold it.
    """
    _count_units(batch, unit)
    most = [_capacity(speed, batch) for speed in speeds]
    held = sum(share // unit * unit for share in most)
    if held < batch:
        raise TrainingError(
            f"the devices' memory holds {held} samples of a batch of {batch}; accumulate "
            "gradients over several passes, or make the batch smaller"
        )
    return _distribute(speeds, [0] * len(speeds), most, batch, unit)


def _count_units(batch: int, unit: int) -> int:
    """Units in a batch."""
    units, left = divmod(batch, unit)
    if left:
        raise TrainingError(
            f"a batch of {batch} samples is no whole number of micro-batches of {unit}; "
            f"{(units + 1) * unit} would be"
        )
    return units


def _capacity(speed: Speed, batch: int) -> int:
    """How many of the batch's samples a rank holds."""
    return batch if speed.most is None else min(batch, speed.most)


def _distribute(
    speeds: Sequence[Speed], least: Sequence[int], most: Sequence[int], batch: int, unit: int
) -> list[int]:
    """Hand out a batch unit by unit, each to the rank that would then be done first.

    No rank's time falls as its share grows, so these are the shortest of all times to be had, and
    no other choice of as many has a shorter longest one.
    """
    shares = list(least)
    first: list[tuple[float, int]] = []

    def offer(rank: int) -> None:
        if shares[rank] + unit <= most[rank]:
            heapq.heappush(first, (speeds[rank].seconds(shares[rank] + unit), rank))

    for rank in range(len(speeds)):
        offer(rank)
    for _ in range((batch - sum(least)) // unit):
        rank = heapq.heappop(first)[1]
        shares[rank] += unit
        offer(rank)
    return shares


def ranks_to_exclude(
    speeds: Sequence[Speed], batch: int, exchange: Callable[[int], float], unit: int = 1
) -> tuple[tuple[int, ...], float]:
    """Ranks without which a step would be faster.

    A step is taken to cost the slowest rank's compute time at the best shares, and the exchange
    of gradients after it.

    Args:
        speeds: One a rank.
        batch: Samples of the global batch.
        exchange: Seconds of an all-reduce among so many ranks, from 1.
        unit: Samples of a micro-batch.

    Returns:
        The ranks to leave out, none if all help, and how many times faster a step is without
        them, from 1.

    Raises:
        TrainingError: See `optimal_shares`.
    """

    def step(team: Sequence[int]) -> float:
        members = [speeds[rank] for rank in team]
        shares = optimal_shares(members, batch, unit)
        return _slowest(members, shares) + exchange(len(team))

    everyone = range(len(speeds))
    teams = [_fastest_ranks(speeds, size, batch, unit) for size in reversed(everyone[1:])]
    best = min([everyone, *(team for team in teams if team)], key=step)
    return tuple(rank for rank in everyone if rank not in best), step(everyone) / step(best)


def _slowest(speeds: Sequence[Speed], shares: Sequence[int]) -> float:
    return max(speed.seconds(share) for speed, share in zip(speeds, shares, strict=True))


def _fastest_ranks(speeds: Sequence[Speed], size: int, batch: int, unit: int) -> Sequence[int]:
    """The `size` ranks that compute a batch soonest; none where no such team can hold it.

    Within a given time the best team are those that finish most. Bisection finds the time in which
    the best team only just finishes the batch.
    """
    units = _count_units(batch, unit)
    fixed = np.array([speed.fixed for speed in speeds])
    slope = np.array([speed.slope * unit for speed in speeds])
    most = np.array([_capacity(speed, batch) // unit for speed in speeds])

    def best(seconds: float) -> tuple[list[int], bool]:
        finished = np.clip((seconds - fixed) // slope, 0, most)
        team = np.argsort(-finished, kind="stable")[:size]
        return team.tolist(), bool(finished[team].sum() >= units)

    short, long = 0.0, 2 * float((fixed + slope * units).max())
    if not best(long)[1]:
        return []
    while short < (middle := (short + long) / 2) < long:
        short, long = (short, middle) if best(middle)[1] else (middle, long)
    return best(long)[0]


class LoadBalancer:
    """Corrects the shares while training goes on, from what steps take.

    A rank's step takes the median of the latest ones. Fixed cost and slope keep the proportion
    that was fitted, as far as FIXED; where nothing is fixed, this is the rule
    b_r <- b_r * mean(t) / t_r.

    A correction must promise more than a dead band, which is wide after a few steps and narrows as
    measurements add up: a great change is answered soon, noise is not. It moves no share to more
    than twice or less than half (rounded down to units) at once, and from 0 to one unit at most.
    A rank without samples is taken for as slow as it last was, and tried again with one unit when
    enough steps went by for the trial to be cheap.

    Args:
        shares: Samples of each rank, multiples of the unit and within memory.
        speeds: One a rank, as fitted before training.
        unit: Samples of a micro-batch.

    Attributes:
        shares: The present ones. Their sum never changes.
        speeds: As last measured.
    """

    def __init__(self, shares: Sequence[int], speeds: Sequence[Speed], unit: int = 1) -> None:
        self.shares, self.batch, self.unit = list(shares), sum(shares), unit
        self.fitted, self.speeds = tuple(speeds), list(speeds)
        self.idle = [0] * len(shares)
        self.window: deque[Sequence[float]] = deque(maxlen=WINDOW_STEPS)

    def observe(self, seconds: Sequence[float]) -> None:
        """Note a step.

        Args:
            seconds: Every rank's compute time at the present shares, more than 0 where it had
                samples; without waiting for data or for other ranks. The short last batch of an
                epoch is none of them.
        """
        self.window.append(seconds)
        self.idle = [
            0 if share else idle + 1 for share, idle in zip(self.shares, self.idle, strict=True)
        ]

    def propose(self) -> list[int] | None:
        """Decide whether shares change before the next step.

        Returns:
            The new shares, which from now on are the present ones, or None: all stays.
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
        """Take the ranks' speeds from the window.

        Returns:
            The dead band: three standard errors of the noisiest rank's median, or more.
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
                # 1.48 median deviations are a standard deviation, of which a median's standard
                # error is 1.25 / sqrt(steps).
                noise = max(noise, 1.25 * 1.48 * float(spread[rank]) / time)
        return max(DEAD_BAND * math.sqrt(WINDOW_STEPS), 3 * noise) / math.sqrt(len(times))

    def _due(self, slowest: float) -> list[int]:
        """Ranks without samples that waited long enough for a trial to cost little."""
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
        """The best shares within the bounds of one correction."""
        least = [share // self.unit // 2 * self.unit for share in self.shares]
        most = [
            min(_capacity(speed, self.batch), max(2 * share, self.unit))
            for speed, share in zip(self.speeds, self.shares, strict=True)
        ]
        for rank in due[: (self.batch - sum(least)) // self.unit]:
            least[rank] = self.unit
        return _distribute(self.speeds, least, most, self.batch, self.unit)


def ideal_throughput(shares: Sequence[int], seconds: Sequence[float]) -> float:
    """Samples a second of ranks of which none ever waits: the sum of their own throughputs.

    Args:
        shares: Samples of each rank in a step.
        seconds: Compute time of each rank, measured or by `Speed.seconds`; more than 0 where it
            has samples.
    """
    return math.fsum(b / t for b, t in zip(shares, seconds, strict=True) if b)


def efficiency(shares: Sequence[int], seconds: Sequence[float], step: float) -> float:
    """Throughput of a job over the ideal one; 1 where no rank ever waits.

    Args:
        shares: See `ideal_throughput`.
        seconds: See `ideal_throughput`.
        step: Seconds of a whole step, the exchange of gradients with it.
    """
    return sum(shares) / step / ideal_throughput(shares, seconds)
