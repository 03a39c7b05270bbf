"""Results of `bench scaling`: measured points with their spread, and those of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any, Literal

from decametre.bench.report_files import markdown_table
from decametre.bench.scaling import ScalingMeasurement
from decametre.bench.scaling_model import MODEL_RANKS, PUBLISHED, Interconnect, published_epochs
from decametre.training.load_balancing import fit_speed

SAMPLES = 100_000
"""Number of samples whose time is reported."""

Scaling = Literal["weak", "strong"]

KEYS = ("recipe", "scaling", "ranks", "batch")
"""First columns of the tables."""

SCALINGS: tuple[Scaling, ...] = ("weak", "strong")


@dataclass(frozen=True)
class ScalingPoint:
    """A throughput.

    Attributes:
        recipe: Name of the recipe.
        scaling: `weak`: each rank takes the recipe's batch. `strong`: they share it.
        source: Whether it was measured or computed by the model.
        ranks: Number of ranks.
        batch: Samples of a step, over all ranks.
        rate: Samples a second; the median of the measurements.
        least: Minimum of the measurements; for the model equal to `rate`.
        most: Maximum, likewise.
        efficiency: `rate` over `ranks` times the rate of one rank from the same source.
        seconds: Time for `SAMPLES` samples.
    """

    recipe: str
    scaling: Scaling
    source: Literal["measured", "model"]
    ranks: int
    batch: int
    rate: float
    least: float
    most: float
    efficiency: float
    seconds: float


@dataclass(frozen=True)
class ScalingReport:
    """Measurements on one hardware, and predictions of a model from them.

    Attributes:
        measurements: Measurements of any recipes and numbers of ranks, including one rank.
        interconnect: Interconnect of the model.
    """

    measurements: Sequence[ScalingMeasurement]
    interconnect: Interconnect

    @property
    def hardware(self) -> str:
        """The hardware of the measurements, as text."""
        return self.measurements[0].hardware

    @property
    def repeats(self) -> int:
        """The least number of measurements of a point."""
        keys = [(m.recipe, m.rank_batch, m.ranks, m.batch) for m in self.measurements]
        return min(keys.count(key) for key in keys)

    @cached_property
    def points(self) -> list[ScalingPoint]:
        """All points, ordered by recipe, scaling, source and ranks."""
        groups: dict[tuple[str, int], list[ScalingMeasurement]] = {}
        for measured in self.measurements:
            groups.setdefault((measured.recipe, measured.rank_batch), []).append(measured)
        return [
            point
            for group in groups.values()
            for scaling in SCALINGS
            for point in (*_measured(group, scaling), *_modelled(group, scaling, self.interconnect))
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        epochs = published_epochs(self.interconnect)
        return {
            "hardware": self.hardware,
            "samples": SAMPLES,
            "interconnect_of_model": asdict(self.interconnect),
            "points": [asdict(point) for point in self.points],
            "sedona_2019": [
                {"gpus": gpus, "published_epoch": seconds, "model_epoch": epochs[gpus]}
                for gpus, seconds in PUBLISHED.items()
            ],
        }

    def caption_of_model(self) -> str:
        """The assumptions of the model, as text."""
        ring = self.interconnect
        return (
            "Model, not measured: ranks as fast as the measured one, float32 gradients in "
            f"a ring of {ring.latency * 1e6:g} µs and {ring.bandwidth / 1e9:g} GB/s, "
            f"{ring.overlap:.0%} of it during back-propagation"
        )

    def table(self) -> str:
        """The report as Markdown: measurements, model, and the errors of the model."""
        return "\n".join(
            [
                f"Measured: {self.hardware}; median (least to most) of {self.repeats}",
                "",
                *self._measured_table(),
                "",
                self.caption_of_model(),
                "",
                *self._model_table(),
                "",
                "The same model compared with epochs of Sedona et al. (2019), ResNet-50 on V100; "
                f"its compute time is fitted to {min(PUBLISHED)} GPUs",
                "",
                *self._published_table(),
            ]
        )

    def _measured_table(self) -> list[str]:
        rows = [
            (
                *_key(p),
                f"{_short(p.rate)} ({_short(p.least)} to {_short(p.most)})",
                f"{p.efficiency:.1%}",
                f"{p.seconds:.0f} s",
            )
            for p in self.points
            if p.source == "measured"
        ]
        return markdown_table((*KEYS, "samples/s", "efficiency", f"{SAMPLES} samples"), rows)

    def _model_table(self) -> list[str]:
        rows = [
            (*_key(p), _short(p.rate), f"{p.efficiency:.1%}")
            for p in self.points
            if p.source == "model"
        ]
        return markdown_table((*KEYS, "samples/s, model", "efficiency, model"), rows)

    def _published_table(self) -> list[str]:
        epochs = published_epochs(self.interconnect)
        rows = [
            (
                str(gpus),
                f"{seconds} s",
                f"{epochs[gpus]:.1f} s",
                f"{epochs[gpus] / seconds - 1:+z.1%}",
            )
            for gpus, seconds in PUBLISHED.items()
        ]
        return markdown_table(("GPUs", "published", "model", "error"), rows)


def _key(point: ScalingPoint) -> tuple[str, ...]:
    return point.recipe, point.scaling, str(point.ranks), str(point.batch)


def _short(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 1000 else f"{rate:.3g}"


def _batch(scaling: Scaling, ranks: int, rank_batch: int) -> int:
    return rank_batch * ranks if scaling == "weak" else rank_batch


def _measured(group: Sequence[ScalingMeasurement], scaling: Scaling) -> Iterator[ScalingPoint]:
    """The measured points of one recipe; that of one rank belongs to both scalings."""
    rates: dict[tuple[int, int], list[float]] = {}
    for measured in group:
        rates.setdefault((measured.ranks, measured.batch), []).append(measured.rate)
    rank_batch = group[0].rank_batch
    alone = median(rates[1, rank_batch])
    for ranks in sorted({ranks for ranks, _ in rates}):
        batch = _batch(scaling, ranks, rank_batch)
        if found := rates.get((ranks, batch)):
            yield _point(group[0].recipe, scaling, "measured", ranks, batch, found, alone)


def _modelled(
    group: Sequence[ScalingMeasurement], scaling: Scaling, interconnect: Interconnect
) -> Iterator[ScalingPoint]:
    """The points of the model for one recipe, from the steps of one rank."""
    alone = [measured for measured in group if measured.ranks == 1]
    speed = fit_speed([m.batch for m in alone], [m.seconds / m.steps for m in alone])
    rank_batch = group[0].rank_batch
    for ranks in MODEL_RANKS:
        batch = _batch(scaling, ranks, rank_batch)
        if batch < ranks:
            return
        computing = speed.seconds(-(-batch // ranks))  # the rank with most samples
        rate = batch / interconnect.step(computing, ranks, group[0].gradient_bytes)
        one_rank = rank_batch / speed.seconds(rank_batch)
        yield _point(group[0].recipe, scaling, "model", ranks, batch, [rate], one_rank)


def _point(
    recipe: str,
    scaling: Scaling,
    source: Literal["measured", "model"],
    ranks: int,
    batch: int,
    rates: Sequence[float],
    one_rank: float,
) -> ScalingPoint:
    """A point from one or several rates, and the rate of one rank."""
    rate = median(rates)
    return ScalingPoint(
        recipe=recipe,
        scaling=scaling,
        source=source,
        ranks=ranks,
        batch=batch,
        rate=rate,
        least=min(rates),
        most=max(rates),
        efficiency=rate / (one_rank * ranks),
        seconds=SAMPLES / rate,
    )
