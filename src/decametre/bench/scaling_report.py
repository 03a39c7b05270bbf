"""What measurements of scaling come to: points with their spread, and beside them a model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any, Literal

from decametre.bench.scaling import Measurement
from decametre.bench.scaling_model import MODEL_RANKS, PUBLISHED, Interconnect, published_epochs
from decametre.training.load_balancing import fit_speed

SAMPLES = 100_000
"""The fixed number of samples whose time is told."""

Scaling = Literal["weak", "strong"]

SCALINGS: tuple[Scaling, ...] = ("weak", "strong")


@dataclass(frozen=True)
class Point:
    """A throughput.

    Attributes:
        recipe: Its name.
        scaling: `weak`: each rank takes the recipe's batch. `strong`: they share it.
        source: `model` is no measurement.
        ranks: How many.
        batch: Samples of a step, over all ranks.
        rate: Samples a second; of measurements the median.
        least: Of the measurements; of the model as `rate`.
        most: See `least`.
        efficiency: `rate` over that of one rank times `ranks`, both of one source.
        seconds: For `SAMPLES` samples.
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
class Report:
    """Measurements of one hardware, and what a model makes of them.

    Attributes:
        measurements: Of any recipes and numbers of ranks; each recipe on one rank, too.
        interconnect: Of the model.
    """

    measurements: Sequence[Measurement]
    interconnect: Interconnect

    @property
    def hardware(self) -> str:
        """On which it was measured."""
        return self.measurements[0].hardware

    @property
    def repeats(self) -> int:
        """How often each point was measured, at least."""
        keys = [(m.recipe, m.rank_batch, m.ranks, m.batch) for m in self.measurements]
        return min(keys.count(key) for key in keys)

    @cached_property
    def points(self) -> list[Point]:
        """By recipe, scaling, source and ranks."""
        groups: dict[tuple[str, int], list[Measurement]] = {}
        for measured in self.measurements:
            groups.setdefault((measured.recipe, measured.rank_batch), []).append(measured)
        return [
            point
            for group in groups.values()
            for scaling in SCALINGS
            for point in (*_measured(group, scaling), *_modelled(group, scaling, self.interconnect))
        ]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
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
        """What the model assumes, in words."""
        ring = self.interconnect
        return (
            "Model, not measured: ranks as fast as the one that was measured, float32 gradients in "
            f"a ring of {ring.latency * 1e6:g} µs and {ring.bandwidth / 1e9:g} GB/s, "
            f"{ring.overlap:.0%} of it during back-propagation"
        )

    def table(self) -> str:
        """For the terminal, in Markdown: what was measured, the model, and how far to trust it."""
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
                "The same model beside the epochs of Sedona et al. (2019), ResNet-50 on V100; its "
                f"computing is fitted to {min(PUBLISHED)} GPUs",
                "",
                *self._published_table(),
            ]
        )

    def _measured_table(self) -> Iterator[str]:
        yield f"| recipe | scaling | ranks | batch | samples/s | efficiency | {SAMPLES} samples |"
        yield "|---|---|---|---|---|---|---|"
        for p in self.points:
            if p.source == "measured":
                yield (
                    f"| {p.recipe} | {p.scaling} | {p.ranks} | {p.batch} | "
                    f"{_short(p.rate)} ({_short(p.least)} to {_short(p.most)}) | "
                    f"{p.efficiency:.1%} | {p.seconds:.0f} s |"
                )

    def _model_table(self) -> Iterator[str]:
        yield "| recipe | scaling | ranks | batch | samples/s, model | efficiency, model |"
        yield "|---|---|---|---|---|---|"
        for p in self.points:
            if p.source == "model":
                yield (
                    f"| {p.recipe} | {p.scaling} | {p.ranks} | {p.batch} | {_short(p.rate)} | "
                    f"{p.efficiency:.1%} |"
                )

    def _published_table(self) -> Iterator[str]:
        yield "| GPUs | published | model | error |"
        yield "|---|---|---|---|"
        epochs = published_epochs(self.interconnect)
        for gpus, seconds in PUBLISHED.items():
            error = epochs[gpus] / seconds - 1
            yield f"| {gpus} | {seconds} s | {epochs[gpus]:.1f} s | {error:+z.1%} |"


def _short(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 1000 else f"{rate:.3g}"


def _batch(scaling: Scaling, ranks: int, rank_batch: int) -> int:
    return rank_batch * ranks if scaling == "weak" else rank_batch


def _measured(group: Sequence[Measurement], scaling: Scaling) -> Iterator[Point]:
    """The points of one recipe; that of one rank is in both scalings."""
    rates: dict[tuple[int, int], list[float]] = {}
    for measured in group:
        rates.setdefault((measured.ranks, measured.batch), []).append(measured.rate)
    rank_batch = group[0].rank_batch
    alone = median(rates[1, rank_batch])
    for ranks in sorted({ranks for ranks, _ in rates}):
        batch = _batch(scaling, ranks, rank_batch)
        if found := rates.get((ranks, batch)):
            rate = median(found)
            yield Point(
                recipe=group[0].recipe,
                scaling=scaling,
                source="measured",
                ranks=ranks,
                batch=batch,
                rate=rate,
                least=min(found),
                most=max(found),
                efficiency=rate / (alone * ranks),
                seconds=SAMPLES / rate,
            )


def _modelled(
    group: Sequence[Measurement], scaling: Scaling, interconnect: Interconnect
) -> Iterator[Point]:
    """What the model says of the recipe, from the steps of one rank."""
    alone = [measured for measured in group if measured.ranks == 1]
    speed = fit_speed([m.batch for m in alone], [m.seconds / m.steps for m in alone])
    rank_batch = group[0].rank_batch
    for ranks in MODEL_RANKS:
        batch = _batch(scaling, ranks, rank_batch)
        if batch < ranks:
            return
        computing = speed.seconds(-(-batch // ranks))  # of the rank with most
        rate = batch / interconnect.step(computing, ranks, group[0].gradient_bytes)
        yield Point(
            recipe=group[0].recipe,
            scaling=scaling,
            source="model",
            ranks=ranks,
            batch=batch,
            rate=rate,
            least=rate,
            most=rate,
            efficiency=rate * speed.seconds(rank_batch) / rank_batch / ranks,
            seconds=SAMPLES / rate,
        )
