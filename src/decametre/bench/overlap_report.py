"""What traces of a few ranks' steps come to: a row a rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from decametre.bench.balance_report import Spread, spread
from decametre.bench.overlap_trace import StepTimes


@dataclass(frozen=True)
class Row:
    """A rank's steps: medians with their spread, in milliseconds a step.

    Attributes:
        rank: Its number.
        exchange: Of gradients, with waiting for ranks that come later.
        overlapped: Of that, while back-propagation still ran.
        exposed: Of that, when it did not.
        part: Which part of the exchange ran during back-propagation.
        backward: Back-propagation.
        step: The whole step.
    """

    rank: int
    exchange: Spread
    overlapped: Spread
    exposed: Spread
    part: Spread
    backward: Spread
    step: Spread


@dataclass(frozen=True)
class Report:
    """Steps of one recipe.

    Attributes:
        recipe: Its name.
        hardware: In words.
        batch: Samples of a step, over all ranks.
        gradient_bytes: Of all weights that are trained, in float32.
        compression: How gradients travel.
        steps: Of each rank.
    """

    recipe: str
    hardware: str
    batch: int
    gradient_bytes: int
    compression: str
    steps: Sequence[Sequence[StepTimes]]

    @property
    def rows(self) -> list[Row]:
        """One a rank."""
        return [
            Row(
                rank=rank,
                exchange=spread([step.exchange for step in steps]),
                overlapped=spread([step.overlapped for step in steps]),
                exposed=spread([step.exposed for step in steps]),
                part=spread([step.overlapped / step.exchange for step in steps]),
                backward=spread([step.backward for step in steps]),
                step=spread([step.step for step in steps]),
            )
            for rank, steps in enumerate(self.steps)
        ]

    @property
    def buckets(self) -> int:
        """Sums over ranks in a step."""
        return len(self.steps[0][0].buckets)

    @property
    def transfer(self) -> Spread:
        """Milliseconds of the exchange in a step for the rank that waits for no other.

        That is the one that comes last, which differs from bucket to bucket.
        """
        return spread(
            [
                sum(min(of_bucket) for of_bucket in zip(*(s.buckets for s in step), strict=True))
                for step in zip(*self.steps, strict=True)
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {
            "rows": [asdict(row) for row in self.rows],
            "transfer": asdict(self.transfer),
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Report:
        """The report of a `to_dict`."""
        steps = [
            [StepTimes(**step | {"buckets": tuple(step["buckets"])}) for step in of_rank]
            for of_rank in document["steps"]
        ]
        names = ("recipe", "hardware", "batch", "gradient_bytes", "compression")
        return cls(**{name: document[name] for name in names}, steps=steps)

    def table(self) -> str:
        """For people, as Markdown."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        steps, buckets = len(self.steps[0]), self.buckets
        yield (
            f"{self.recipe}, {len(self.steps)} ranks, batch {self.batch}, "
            f"{self.gradient_bytes / 1e6:.1f} MB of gradients in {buckets} "
            f"bucket{'s' if buckets > 1 else ''}, compression {self.compression}; {self.hardware}"
        )
        yield ""
        yield f"Milliseconds a step: median (least to most) of {steps}, traced by torch's profiler."
        yield ""
        yield (
            "| rank | exchange of gradients | during back-propagation | exposed | part overlapped "
            "| back-propagation | step |"
        )
        yield "|---|---|---|---|---|---|---|"
        for row in self.rows:
            yield (
                f"| {row.rank} | {row.exchange:.1f} | {row.overlapped:.1f} | {row.exposed:.1f} | "
                f"{row.part:.0%} | {row.backward:.1f} | {row.step:.1f} |"
            )
        yield ""
        yield (
            "An exchange is counted from where a rank begins with it, so it holds waiting for "
            f"those that come later: whoever comes last needs {self.transfer:.1f}."
        )
