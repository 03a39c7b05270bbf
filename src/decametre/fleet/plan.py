"""How many workers so many products a day need, by what a fleet was measured to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decametre.errors import FleetError
from decametre.fleet.formatting import amount, digits
from decametre.fleet.history import WAIT, CompletedProduct, History
from decametre.fleet.progress import status_of

EDGE = 10980
"""Pixels of 10 m along an edge of a full product."""

DAY = 86_400

ARCHIVE_BYTES_PER_DAY = 23e12
"""Bytes that Sentinel-2 produces a day, about: the whole archive's growth."""

SMALL_SHARE = 0.1
"""Of a full product's pixels; of smaller products the plan says what that does to it."""


@dataclass(frozen=True)
class ProductCost:
    """What a full product takes of one kind of worker.

    Attributes:
        device: `cpu` or `cuda`; None where figures were given.
        threads: Processor threads of such a worker.
        gpus: GPUs of such a worker that are used.
        stages: Seconds of each stage of the work, waiting left out.
        waiting: Seconds of waiting for a turn on the device.
        busy: Seconds that a worker is busy for each full product, what overlaps counted once;
            None where that was not measured.
        bytes_in: Of a full product's input, or None.
        bytes_out: Of its results, or None.
        products: How many were measured.
        pixels: How many 10 m pixels they have together.
    """

    device: str | None
    threads: int
    gpus: int
    stages: dict[str, float]
    waiting: float = 0.0
    busy: float | None = None
    bytes_in: float | None = None
    bytes_out: float | None = None
    products: int = 0
    pixels: int = 0

    @property
    def bottleneck(self) -> str:
        """The stage that takes longest."""
        return max(self.stages, key=lambda name: self.stages[name])

    def seconds(self) -> dict[str, float]:
        """Of a worker's time for each product, by how its stages overlap."""
        found = {
            "all at once": self.stages[self.bottleneck],
            "one after another": sum(self.stages.values()),
        }
        if self.busy is not None:
            found["as measured"] = self.busy
        return found


@dataclass(frozen=True)
class WorkerDemand:
    """What a number of products a day needs.

    Attributes:
        overlap: How the stages of a worker's products are taken to overlap.
        seconds: Of a worker's time for each product.
        exactly: Workers, before rounding up.
        workers: Rounded up.
        cores: Their threads.
        gpus: Their GPUs.
    """

    overlap: str
    seconds: float
    exactly: float
    workers: int
    cores: int
    gpus: int


@dataclass(frozen=True)
class CapacityPlan:
    """The arithmetic for one kind of worker.

    Attributes:
        products: Full products a day.
        utilisation: Part of the day in which workers are at work.
        cost: Of a full product.
        source: Where the cost comes from, in words.
    """

    products: int
    utilisation: float
    cost: ProductCost
    source: str

    @property
    def needs(self) -> list[WorkerDemand]:
        """By how stages overlap; that which the plan goes by is the last."""
        return [self._need(overlap, seconds) for overlap, seconds in self.cost.seconds().items()]

    def _need(self, overlap: str, seconds: float) -> WorkerDemand:
        exactly = self.products * seconds / (DAY * self.utilisation)
        workers = max(1, math.ceil(round(exactly, 9)))
        return WorkerDemand(
            overlap,
            seconds,
            exactly,
            workers,
            workers * self.cost.threads,
            workers * self.cost.gpus,
        )

    def bandwidth(self, size: float) -> float:
        """Bytes a second while workers are at work, of so many bytes a product."""
        return self.products * size / (DAY * self.utilisation)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        sizes = {"in": self.cost.bytes_in, "out": self.cost.bytes_out}
        return {
            "products_per_day": self.products,
            "utilisation": self.utilisation,
            "source": self.source,
            "full_product": asdict(self.cost),
            "bottleneck": self.cost.bottleneck,
            "needs": [asdict(need) for need in self.needs],
            "bandwidth": {
                way: {
                    "bytes_per_second": self.bandwidth(size),
                    "bytes_per_day": self.products * size,
                }
                for way, size in sizes.items()
                if size is not None
            },
        }

    def text(self) -> str:
        """For people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        cost = self.cost
        yield (
            f"{self.products:,} full products ({EDGE:,} x {EDGE:,} pixels) a day, workers at work "
            f"{100 * self.utilisation:g} % of it"
        )
        device = f", {cost.device}" if cost.device else ""
        yield f"worker: {cost.threads} thread(s), {cost.gpus} GPU(s){device}; {self.source}"
        part = cost.pixels / max(1, cost.products) / EDGE**2
        if cost.products:
            yield (
                f"measured on {cost.products:,} products of {100 * part:.3g} % of a full one's "
                f"pixels on average; seconds and bytes are taken to grow with the pixels"
            )
        if cost.products and part < SMALL_SHARE:
            yield (
                "What a product takes whatever its size is multiplied too: the plan is for more "
                "than full products need. Measure on full ones."
            )
        yield ""
        yield from self._stages()
        yield ""
        yield from table(
            ("a worker's stages run", "s/product", "workers", "cores", "GPUs"),
            [
                (n.overlap, digits(n.seconds), f"{n.workers:,}", f"{n.cores:,}", f"{n.gpus:,}")
                for n in self.needs
            ],
        )
        yield ""
        yield from self._arithmetic()

    def _stages(self) -> Iterator[str]:
        """The table of stages, and which is the bottleneck."""
        cost = self.cost
        whole = sum(cost.stages.values())
        rows = [
            (name, digits(seconds), f"{100 * seconds / whole:.0f} %")
            for name, seconds in cost.stages.items()
        ]
        yield from table(("stage", "s/product", "part"), rows)
        yield (
            f"bottleneck: {cost.bottleneck}"
            + (f"; besides {digits(cost.waiting)} s of waiting for the device" * (cost.waiting > 0))
        )

    def _arithmetic(self) -> Iterator[str]:
        """Of the need that the plan goes by."""
        need, cost = self.needs[-1], self.cost
        day = f"({DAY:,} s x {self.utilisation:g})"
        yield f"stages {need.overlap}:"
        yield (
            f"workers = {self.products:,} x {digits(need.seconds)} s / {day} "
            f"= {digits(need.exactly)}, so {need.workers:,}"
        )
        yield f"cores   = {need.workers:,} x {cost.threads} = {need.cores:,}"
        if cost.gpus:
            yield f"GPUs    = {need.workers:,} x {cost.gpus} = {need.gpus:,}"
        for way, size in (("in ", cost.bytes_in), ("out", cost.bytes_out)):
            if size is None:
                yield f"{way}     : not known; --{way.strip()}put-gb says it"
                continue
            rate = self.bandwidth(size)
            yield (
                f"{way}     = {self.products:,} x {amount(size, 'B')} / {day} = "
                f"{amount(rate, 'B/s')} ({digits(8 * rate / 1e9)} Gbit/s), "
                f"{amount(self.products * size, 'B')} a day"
            )
        if cost.bytes_in is not None:
            part = self.products * cost.bytes_in / ARCHIVE_BYTES_PER_DAY
            yield (
                f"Input is {digits(100 * part)} % of the "
                f"{amount(ARCHIVE_BYTES_PER_DAY, 'B')} or so that Sentinel-2 produces a day"
            )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table, aligned; the first column holds names, the others numbers."""
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in (heads, None, *rows):
        if row is None:
            cells = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        else:
            pairs = zip(row[1:], widths[1:], strict=True)
            cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in pairs)]
        yield f"| {' | '.join(cells)} |"


def measured_plans(
    products: int,
    utilisation: float,
    out: Path,
    bytes_in: float | None = None,
    bytes_out: float | None = None,
) -> list[CapacityPlan]:
    """Plans by what was measured in a folder of results, one for each kind of worker.

    The latest run there that computed anything counts, and all those before it with the same
    verb, version and settings.

    Args:
        products: Full products a day.
        utilisation: Part of the day in which workers are at work.
        out: The folder.
        bytes_in: Of a full product's input, in place of what was measured.
        bytes_out: Of its results, likewise.

    Raises:
        FleetError: No fleet has been at work there, or no product was computed.
    """
    history = History()
    status_of(out, history.add)
    history.close()
    if not history.completed:
        raise FleetError(f"{out}: no product was computed there, so nothing is measured")
    verb = history.runs[history.completed[-1].run].event["verb"]
    source = f"fleet {verb} in {out}"
    plans = []
    for cost in costs(history):
        sized = replace(
            cost, bytes_in=bytes_in or cost.bytes_in, bytes_out=bytes_out or cost.bytes_out
        )
        plans.append(CapacityPlan(products, utilisation, sized, source))
    return plans


def costs(history: History) -> list[ProductCost]:
    """What a full product took of each kind of worker; that which did most pixels first."""
    kinds: dict[tuple[str, int, int], list[CompletedProduct]] = {}
    stays = {(stay.run, stay.worker): stay for stay in history.worker_intervals}
    how = [(run.event["verb"], run.event["version"], run.event["settings"]) for run in history.runs]
    counted = [one == how[history.completed[-1].run] for one in how]
    for one in history.completed:
        stay = stays.get((one.run, one.worker))
        if stay is not None and counted[one.run]:
            device = "cuda" if one.device.startswith("cuda") else "cpu"
            gpus = max(1, stay.gpus) if device == "cuda" else 0
            kinds.setdefault((device, stay.threads, gpus), []).append(one)
    found = [_cost(history, *kind, done) for kind, done in kinds.items()]
    return sorted(found, key=lambda cost: -cost.pixels)


def _cost(
    history: History, device: str, threads: int, gpus: int, done: Sequence[CompletedProduct]
) -> ProductCost:
    """The sums over products of one kind of worker, brought to a full product's pixels."""
    pixels = sum(one.pixels for one in done)
    factor = EDGE**2 / pixels
    seconds = {
        name: factor * sum(one.stages.get(name, 0.0) for one in done) for name in history.stages
    }
    waiting = seconds.pop(WAIT, 0.0)
    return ProductCost(
        device=device,
        threads=threads,
        gpus=gpus,
        stages={name: value for name, value in seconds.items() if value > 0},
        waiting=waiting,
        busy=factor * _busy(done),
        bytes_in=_size([(one.bytes_in, one.pixels) for one in done]),
        bytes_out=_size([(one.bytes_out, one.pixels) for one in done]),
        products=len(done),
        pixels=pixels,
    )


def _size(products: Sequence[tuple[int, int]]) -> float | None:
    """Bytes of a full product, by bytes and pixels of others; 0 bytes are unknown."""
    known = [(size, pixels) for size, pixels in products if size]
    if not known:
        return None
    return EDGE**2 * sum(size for size, _ in known) / sum(pixels for _, pixels in known)


def _busy(done: Sequence[CompletedProduct]) -> float:
    """Seconds in which workers had a product or more, summed over workers."""
    total = 0.0
    until: dict[tuple[int, str], float] = {}
    for one in sorted(done, key=lambda one: one.start):
        worker = (one.run, one.worker)
        total += max(0.0, one.end - max(one.start, until.get(worker, one.start)))
        until[worker] = max(one.end, until.get(worker, one.end))
    return total
