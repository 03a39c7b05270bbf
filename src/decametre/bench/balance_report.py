"""What measurements of unequal ranks come to: a row for each ratio, and whether targets are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median, mode
from typing import Any

from decametre.bench.balance import WARM_UP, WARM_UP_FIXED, Change, Measurement

EFFICIENCY = 0.92
"""Target: the least part of the ideal throughput with `auto`."""

COST = 0.01
"""Target: the largest part of the time that re-balancing takes."""

SOON = 50
"""Target: the most steps until shares follow a rank that becomes slow or recovers."""

MOST_OF_THE_WAY = 0.9
"""Shares have followed when they went this part of the way."""


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    least: float
    most: float

    def __format__(self, how: str) -> str:
        return f"{self.median:{how}} ({self.least:{how}} to {self.most:{how}})"


def spread(values: Sequence[float]) -> Spread:
    """The median, the least and the most."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """What is known of a ratio.

    Parts of the ideal are those of each measurement, whose runs were soon after each other.

    Attributes:
        ratio: Asked for.
        measured_ratio: How many times faster rank 0 is, alone.
        ideal: Samples a second: the sum of what both ranks do alone.
        equal: Part of the ideal with equal shares.
        held_back: Throughput with equal shares over twice that of rank 1 alone: 1 where rank 1
            alone decides.
        auto: Part of the ideal with shares by speed.
        shares: Of `auto`.
        allowed: Part of the ideal that these shares, in whole samples, could reach.
        computing: Part of the time of `auto` in which each rank computes.
        trials: Seconds of the speed trials before the first step, apart from all else.
        exchange: See `Measurement`; part of the cost.
        cost: Part of the time of `auto` that re-balancing takes.
        others: Part of the cores' time that other programs took.
        command: Makes this row.
    """

    ratio: int
    measured_ratio: Spread
    ideal: Spread
    equal: Spread
    held_back: Spread
    auto: Spread
    shares: tuple[int, ...]
    allowed: float
    computing: tuple[float, ...]
    trials: Spread
    exchange: Spread
    cost: Spread
    others: Spread
    command: str

    @property
    def efficient(self) -> bool:
        """Whether the target of throughput is met."""
        return self.auto.median >= EFFICIENCY

    @property
    def cheap(self) -> bool:
        """Whether the target of cost is met."""
        return self.cost.median < COST


@dataclass(frozen=True)
class Response:
    """How shares follow a change of speed.

    Attributes:
        event: What happened.
        before: Share of rank 1 before it.
        fitting: Share that fits afterwards.
        first: Steps until the first correction towards that; None: never.
        followed: Steps until `MOST_OF_THE_WAY` was gone; None: never.
    """

    event: str
    before: int
    fitting: float
    first: int | None
    followed: int | None

    @property
    def soon(self) -> bool:
        """Whether the target is met."""
        return self.followed is not None and self.followed <= SOON


def response(event: str, shares: Sequence[int], fitting: float) -> Response:
    """How shares follow.

    Args:
        event: What happened.
        shares: Of rank 1: of the last step before the event, and those after it.
        fitting: The share that fits afterwards. Where it is the share before, nothing is shown.
    """
    before, *after = shares
    way = fitting - before

    def steps(part: float) -> int | None:
        """Until so large a part of the way is gone."""
        gone = [(share - before) / way if way else 0.0 for share in after]
        return next((step for step, done in enumerate(gone, 1) if done > 0 and done >= part), None)

    return Response(event, before, fitting, steps(0.0), steps(MOST_OF_THE_WAY))


@dataclass(frozen=True)
class Report:
    """Measurements of one recipe.

    Attributes:
        recipe: Its name.
        hardware: In words.
        steps: That count in each run.
        measurements: Of any ratios.
        change: See `Change`; None where no ratio is above 1.
        command: Made all of it, without `--ratios`.
    """

    recipe: str
    hardware: str
    steps: int
    measurements: Sequence[Measurement]
    change: Change | None
    command: str

    @cached_property
    def rows(self) -> list[Row]:
        """By ratio."""
        ratios = sorted({found.ratio for found in self.measurements})
        return [
            _row([m for m in self.measurements if m.ratio == ratio], self.command)
            for ratio in ratios
        ]

    @cached_property
    def responses(self) -> list[Response]:
        """To becoming slow, and to recovering."""
        if self.change is None:
            return []
        shares, slowed, recovered = self.change.shares, self.change.slowed, self.change.recovered
        fast = shares[slowed - 1]
        return [
            response("becomes slow", shares[slowed - 1 : recovered], self.change.fitting),
            response("recovers", shares[recovered - 1 :], fast),
        ]

    @property
    def caption(self) -> str:
        """What was measured, in words."""
        turns = len(self.measurements) // len(self.rows)
        return (
            f"{self.recipe}, batches of {self.measurements[0].batch}, {self.hardware}; two ranks, "
            "each on a core of its own, of which rank 1 shares its core with other processes; "
            f"{self.steps} steps; median (least to most) of {turns}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "recipe": self.recipe,
            "hardware": self.hardware,
            "steps": self.steps,
            "targets": {"efficiency": EFFICIENCY, "cost": COST, "steps_to_follow": SOON},
            "rows": [
                asdict(row) | {"efficient": row.efficient, "cheap": row.cheap} for row in self.rows
            ],
            "responses": [asdict(found) | {"soon": found.soon} for found in self.responses],
            "measurements": [asdict(found) for found in self.measurements],
            "change": None if self.change is None else asdict(self.change),
        }

    def table(self) -> str:
        """For the terminal, in Markdown."""
        return "\n".join([*self._table(), "", *self._notes(), "", *self._responses()])

    def _table(self) -> Iterator[str]:
        yield self.caption
        yield ""
        yield (
            "| ratio | measured | ideal, samples/s | equal / ideal | equal / (2 x slowest) | "
            "auto / ideal | shares | these allow | target | cost | target |"
        )
        yield "|---|---|---|---|---|---|---|---|---|---|---|"
        for row in self.rows:
            yield (
                f"| 1:{row.ratio} | 1:{row.measured_ratio:.2f} | {row.ideal:.3g} | {row.equal:.1%} "
                f"| {row.held_back:.2f} | **{row.auto.median:.1%}** ({row.auto.least:.1%} to "
                f"{row.auto.most:.1%}) | {_listed(row.shares)} | {row.allowed:.1%} | "
                f"{_verdict(row.efficient)} | {row.cost:.2%} | {_verdict(row.cheap)} |"
            )

    def _notes(self) -> Iterator[str]:
        yield (
            f"Targets: auto at least {EFFICIENCY:.0%} of the ideal, which is the sum of what both "
            f"ranks do alone at the same time; cost under {COST:.0%} of the time. Not counted: the "
            f"speed trials, the first {WARM_UP} steps of auto, the first {WARM_UP_FIXED} of the "
            "others. The cost is that of all steps: the exchange before each (on the rank that "
            "waits for nobody; it sums up losses as well), the reckoning, and drawing anew."
        )
        yield ""
        yield "| ratio | speed trials | computing | exchange | other programs | command |"
        yield "|---|---|---|---|---|---|"
        for row in self.rows:
            computing = ", ".join(f"{part:.1%}" for part in row.computing)
            yield (
                f"| 1:{row.ratio} | {row.trials:.1f} s | {computing} | {row.exchange:.2%} | "
                f"{row.others:.1%} | `{row.command}` |"
            )

    def _responses(self) -> Iterator[str]:
        if self.change is None:
            yield "Nothing was slowed in the midst of a run: no ratio is above 1."
            return
        yield (
            f"Rank 1 is slowed 1:{self.change.ratio} in the midst of a run, and recovers; other "
            f"programs took {self.change.others:.1%} of the cores. Target: {MOST_OF_THE_WAY:.0%} "
            f"of the way within {SOON} steps"
        )
        yield ""
        yield "| rank 1 | its share | fitting | first correction | most of the way | target |"
        yield "|---|---|---|---|---|---|"
        for found in self.responses:
            yield (
                f"| {found.event} | {found.before} | {found.fitting:.1f} | {_after(found.first)} | "
                f"{_after(found.followed)} | {_verdict(found.soon)} |"
            )


def _row(found: Sequence[Measurement], command: str) -> Row:
    shares = mode(m.shares for m in found)
    return Row(
        ratio=found[0].ratio,
        measured_ratio=spread([m.measured_ratio for m in found]),
        ideal=spread([m.ideal for m in found]),
        equal=spread([m.equal / m.ideal for m in found]),
        held_back=spread([m.equal / (2 * min(m.alone)) for m in found]),
        auto=spread([m.auto / m.ideal for m in found]),
        shares=shares,
        allowed=median(allowed(shares, m.alone) for m in found),
        computing=tuple(median(parts) for parts in zip(*(m.computing for m in found), strict=True)),
        trials=spread([m.trials for m in found]),
        exchange=spread([m.exchange for m in found]),
        cost=spread([m.exchange + m.balancing for m in found]),
        others=spread([m.others for m in found]),
        command=f"{command} --ratios {found[0].ratio}",
    )


def allowed(shares: Sequence[int], alone: Sequence[float]) -> float:
    """The part of the ideal throughput at which the rank that is done last allows to work.

    Args:
        shares: Samples of each rank in a step.
        alone: Samples a second of each.
    """
    slowest = max(share / rate for share, rate in zip(shares, alone, strict=True))
    return sum(shares) / slowest / sum(alone)


def _listed(shares: Sequence[int]) -> str:
    return " + ".join(map(str, shares))


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def _after(steps: int | None) -> str:
    return "never" if steps is None else f"{steps} steps"
