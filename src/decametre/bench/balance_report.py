"""Results of `bench balance`: a row for each ratio of speeds, and whether the targets are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median, mode
from typing import Any

from decametre.bench.balance_measurement import (
    WARM_UP,
    WARM_UP_FIXED,
    BalanceMeasurement,
    SpeedChange,
)
from decametre.bench.report_files import Spread, markdown_table, spread

EFFICIENCY = 0.92
"""Target: least fraction of the ideal throughput with `auto`."""

COST = 0.01
"""Target: largest fraction of the time spent on balancing."""

STEPS_TO_FOLLOW = 50
"""Target: most steps until the shares have followed a change of speed."""

FOLLOWED_FRACTION = 0.9
"""The shares have followed when they have changed by this fraction of the necessary change."""


@dataclass(frozen=True)
class BalanceRow:
    """The results for one ratio of speeds.

    Fractions of the ideal refer to the ideal of the same measurement.

    Attributes:
        ratio: Requested ratio.
        measured_ratio: How many times faster rank 0 alone is than rank 1 alone.
        ideal: Samples a second: the sum of both ranks alone.
        equal: Fraction of the ideal with equal shares.
        held_back: Throughput with equal shares over twice that of rank 1 alone: 1 if rank 1 alone
            determines it.
        auto: Fraction of the ideal with shares by speed.
        shares: Shares of `auto`.
        allowed: Fraction of the ideal that these shares, in whole samples, permit.
        computing: Fraction of the time of `auto` in which each rank computes.
        trials: Seconds of the speed trials before the first step, not included elsewhere.
        exchange: See `BalanceMeasurement`; part of the cost.
        cost: Fraction of the time of `auto` spent on balancing.
        others: Fraction of the cores' time used by other programs.
        command: Command that repeats this row.
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
    """How the shares follow a change of speed.

    Attributes:
        event: The change.
        before: Share of rank 1 before the change.
        fitting: Share that matches the speeds after the change.
        first: Steps until the first correction towards it; None: never.
        followed: Steps until `FOLLOWED_FRACTION` of the way; None: never.
    """

    event: str
    before: int
    fitting: float
    first: int | None
    followed: int | None

    @property
    def soon(self) -> bool:
        """Whether the target is met."""
        return self.followed is not None and self.followed <= STEPS_TO_FOLLOW


def find_response(event: str, shares: Sequence[int], fitting: float) -> Response:
    """Find out when the shares follow a change of speed.

    Args:
        event: The change.
        shares: Shares of rank 1: of the last step before the event, and of those after it.
        fitting: The share that matches the speeds after the event. If it equals the share before,
            nothing can be shown.
    """
    before, *after = shares
    way = fitting - before

    def steps(part: float) -> int | None:
        """Steps until this fraction of the way."""
        gone = [(share - before) / way if way else 0.0 for share in after]
        return next((step for step, done in enumerate(gone, 1) if done > 0 and done >= part), None)

    return Response(event, before, fitting, steps(0.0), steps(FOLLOWED_FRACTION))


@dataclass(frozen=True)
class BalanceReport:
    """Measurements of one recipe.

    Attributes:
        recipe: Name of the recipe.
        hardware: The hardware as text.
        steps: Steps that count in each run.
        measurements: Measurements of all ratios.
        change: See `SpeedChange`; None if no ratio is above 1.
        command: Command that took them, without `--ratios`.
    """

    recipe: str
    hardware: str
    steps: int
    measurements: Sequence[BalanceMeasurement]
    change: SpeedChange | None
    command: str

    @cached_property
    def rows(self) -> list[BalanceRow]:
        """A row for each ratio, in rising order."""
        ratios = sorted({found.ratio for found in self.measurements})
        return [
            _row([m for m in self.measurements if m.ratio == ratio], self.command)
            for ratio in ratios
        ]

    @cached_property
    def responses(self) -> list[Response]:
        """The responses to the slow-down and to the recovery."""
        if self.change is None:
            return []
        shares, slowed, recovered = self.change.shares, self.change.slowed, self.change.recovered
        fast = shares[slowed - 1]
        return [
            find_response("becomes slow", shares[slowed - 1 : recovered], self.change.fitting),
            find_response("recovers", shares[recovered - 1 :], fast),
        ]

    @property
    def caption(self) -> str:
        """What was measured, as text."""
        turns = len(self.measurements) // len(self.rows)
        return (
            f"{self.recipe}, batches of {self.measurements[0].batch}, {self.hardware}; two ranks, "
            "each on its own core, of which rank 1 shares its core with other processes; "
            f"{self.steps} steps; median (least to most) of {turns}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "recipe": self.recipe,
            "hardware": self.hardware,
            "steps": self.steps,
            "targets": {
                "efficiency": EFFICIENCY,
                "cost": COST,
                "steps_to_follow": STEPS_TO_FOLLOW,
            },
            "rows": [
                asdict(row) | {"efficient": row.efficient, "cheap": row.cheap} for row in self.rows
            ],
            "responses": [asdict(found) | {"soon": found.soon} for found in self.responses],
            "measurements": [asdict(found) for found in self.measurements],
            "change": None if self.change is None else asdict(self.change),
        }

    def table(self) -> str:
        """The report as Markdown, for the terminal."""
        return "\n".join([*self._table(), "", *self._notes(), "", *self._responses()])

    def _table(self) -> list[str]:
        head = [
            *("ratio", "measured", "ideal, samples/s", "equal / ideal", "equal / (2 x slowest)"),
            *("auto / ideal", "shares", "these permit", "target", "cost", "target"),
        ]
        rows = [
            (
                f"1:{row.ratio}",
                f"1:{row.measured_ratio:.2f}",
                f"{row.ideal:.3g}",
                f"{row.equal:.1%}",
                f"{row.held_back:.2f}",
                f"**{row.auto.median:.1%}** ({row.auto.least:.1%} to {row.auto.most:.1%})",
                " + ".join(map(str, row.shares)),
                f"{row.allowed:.1%}",
                _verdict(row.efficient),
                f"{row.cost:.2%}",
                _verdict(row.cheap),
            )
            for row in self.rows
        ]
        return [self.caption, "", *markdown_table(head, rows)]

    def _notes(self) -> list[str]:
        rows = [
            (
                f"1:{row.ratio}",
                f"{row.trials:.1f} s",
                ", ".join(f"{part:.1%}" for part in row.computing),
                f"{row.exchange:.2%}",
                f"{row.others:.1%}",
                f"`{row.command}`",
            )
            for row in self.rows
        ]
        head = ("ratio", "speed trials", "computing", "exchange", "other programs", "command")
        return [
            f"Targets: auto at least {EFFICIENCY:.0%} of the ideal, which is the sum of both ranks "
            f"alone at the same time; cost below {COST:.0%} of the time. Not counted: the speed "
            f"trials, the first {WARM_UP} steps of auto, the first {WARM_UP_FIXED} of the others. "
            "The cost is that of all steps: the exchange before each step (on the rank that waits "
            "for nobody; it also sums the losses), computing shares, and preparing samples again.",
            "",
            *markdown_table(head, rows),
        ]

    def _responses(self) -> Iterator[str]:
        if self.change is None:
            yield "No run with a change of speed: no ratio is above 1."
            return
        yield (
            f"Rank 1 is slowed down 1:{self.change.ratio} in the middle of a run, and recovers; "
            f"other programs used {self.change.others:.1%} of the cores. Target: "
            f"{FOLLOWED_FRACTION:.0%} of the way within {STEPS_TO_FOLLOW} steps"
        )
        yield ""
        head = ("rank 1", "its share", "fitting", "first correction", "most of the way", "target")
        rows = [
            (
                found.event,
                str(found.before),
                f"{found.fitting:.1f}",
                _after(found.first),
                _after(found.followed),
                _verdict(found.soon),
            )
            for found in self.responses
        ]
        yield from markdown_table(head, rows)


def _row(found: Sequence[BalanceMeasurement], command: str) -> BalanceRow:
    shares = mode(m.shares for m in found)
    return BalanceRow(
        ratio=found[0].ratio,
        measured_ratio=spread([m.measured_ratio for m in found]),
        ideal=spread([m.ideal for m in found]),
        equal=spread([m.equal / m.ideal for m in found]),
        held_back=spread([m.equal / (2 * min(m.alone)) for m in found]),
        auto=spread([m.auto / m.ideal for m in found]),
        shares=shares,
        allowed=median(allowed_fraction(shares, m.alone) for m in found),
        computing=tuple(median(parts) for parts in zip(*(m.computing for m in found), strict=True)),
        trials=spread([m.trials for m in found]),
        exchange=spread([m.exchange for m in found]),
        cost=spread([m.exchange + m.balancing for m in found]),
        others=spread([m.others for m in found]),
        command=f"{command} --ratios {found[0].ratio}",
    )


def allowed_fraction(shares: Sequence[int], alone: Sequence[float]) -> float:
    """The fraction of the ideal throughput that the slowest rank permits with some shares.

    Args:
        shares: Samples of each rank in a step.
        alone: Samples a second of each rank alone.
    """
    slowest = max(share / rate for share, rate in zip(shares, alone, strict=True))
    return sum(shares) / slowest / sum(alone)


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"


def _after(steps: int | None) -> str:
    return "never" if steps is None else f"{steps} steps"
