"""How many workers a number of products per day needs, from measured times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decametre.errors import FleetError
from decametre.fleet.formatting import amount, digits
from decametre.fleet.history import History, read_history
from decametre.fleet.records import WAIT, CompletedProduct
from decametre.io.tables import Table

EDGE = 10980
"""Width and height of a full product in 10 m pixels."""

SECONDS_PER_DAY = 86_400

ARCHIVE_BYTES_PER_DAY = 23e12
"""Approximate growth of the complete Sentinel-2 archive."""

SMALL_SHARE = 0.1
"""Share of a full product's pixels below which the plan warns that it overestimates."""


@dataclass(frozen=True)
class ProductCost:
    """Time and bytes that a full product takes on one kind of worker.

    Attributes:
        device: `cpu` or `cuda`; None if the user gave the times.
        threads: CPU threads of a worker.
        gpus: GPUs that a worker uses.
        stages: Seconds of each stage, without waiting.
        waiting: Seconds of waiting for a turn on the device.
        busy: Seconds in which a worker processes anything, per full product; None if unknown.
        bytes_in: Size of a full product, or None.
        bytes_out: Size of its result, or None.
        products: Number of measured products.
        pixels: Their total number of 10 m pixels.
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
        """The longest stage."""
        return max(self.stages, key=lambda name: self.stages[name])

    @property
    def pixel_share(self) -> float:
        """Mean number of pixels of the measured products, relative to a full product."""
        return self.pixels / max(1, self.products) / EDGE**2

    def seconds(self) -> dict[str, float]:
        """A worker's seconds per product, by how the stages of its products overlap."""
        by_overlap = {
            "all at once": self.stages[self.bottleneck],
            "one after another": sum(self.stages.values()),
        }
        return by_overlap if self.busy is None else by_overlap | {"as measured": self.busy}


@dataclass(frozen=True)
class WorkerDemand:
    """The workers that a number of products per day needs.

    Attributes:
        overlap: How the stages of a worker's products are assumed to overlap.
        seconds: A worker's seconds per product.
        exactly: Number of workers, not rounded.
        workers: Number of workers, rounded up.
        cores: Their CPU threads.
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
    """The calculation for one kind of worker.

    Attributes:
        products: Full products per day.
        utilisation: Share of the day in which workers process products.
        cost: Cost of a full product.
        source: Where the cost comes from, as text.
    """

    products: int
    utilisation: float
    cost: ProductCost
    source: str

    @property
    def needs(self) -> list[WorkerDemand]:
        """The demand for each kind of overlap; the last one is the recommendation."""
        return [self._demand(overlap, seconds) for overlap, seconds in self.cost.seconds().items()]

    def _demand(self, overlap: str, seconds: float) -> WorkerDemand:
        exactly = self.products * seconds / (SECONDS_PER_DAY * self.utilisation)
        workers = max(1, math.ceil(round(exactly, 9)))
        cores, gpus = workers * self.cost.threads, workers * self.cost.gpus
        return WorkerDemand(overlap, seconds, exactly, workers, cores, gpus)

    def bandwidth(self, size: float) -> float:
        """Bytes per second while workers process products, for a number of bytes per product."""
        return self.products * size / (SECONDS_PER_DAY * self.utilisation)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        sizes = {"in": self.cost.bytes_in, "out": self.cost.bytes_out}
        return {
            "products_per_day": self.products,
            "utilisation": self.utilisation,
            "source": self.source,
            "full_product": asdict(self.cost),
            "bottleneck": self.cost.bottleneck,
            "needs": [asdict(need) for need in self.needs],
            "bandwidth": {
                direction: {
                    "bytes_per_second": self.bandwidth(size),
                    "bytes_per_day": self.products * size,
                }
                for direction, size in sizes.items()
                if size is not None
            },
        }

    def text(self) -> str:
        """The plan with its calculation, human-readable."""
        parts = (self._assumptions(), self._stage_table(), self._worker_table(), self._arithmetic())
        return "\n\n".join("\n".join(lines) for lines in parts)

    def _assumptions(self) -> Iterator[str]:
        cost = self.cost
        yield (
            f"{self.products:,} full products ({EDGE:,} x {EDGE:,} pixels) per day, on workers "
            f"that process products {100 * self.utilisation:g} % of the day"
        )
        device = f", {cost.device}" if cost.device else ""
        yield f"Worker: {cost.threads} thread(s), {cost.gpus} GPU(s){device}; {self.source}"
        if not cost.products:
            return
        yield (
            f"Measured on {cost.products:,} product(s) with on average {100 * cost.pixel_share:.3g}"
            " % of the pixels of a full one; seconds and bytes are scaled by pixels"
        )
        if cost.pixel_share < SMALL_SHARE:
            yield (
                "This overestimates, since the constant part of the cost is scaled, too: measure "
                "full products"
            )

    def _stage_table(self) -> Iterator[str]:
        stages, total = self.cost.stages, sum(self.cost.stages.values())
        rows = [
            (name, digits(seconds), f"{100 * seconds / total:.0f} %")
            for name, seconds in stages.items()
        ]
        yield Table("Time of each stage:", ("stage", "s/product", "share"), rows).markdown()
        yield ""
        yield f"Bottleneck: {self.cost.bottleneck}"
        if self.cost.waiting > 0:
            yield f"Waiting for the device, in addition: {digits(self.cost.waiting)} s/product"

    def _worker_table(self) -> Iterator[str]:
        head = ("stages of a worker run", "s/product", "workers", "cores", "GPUs")
        rows = [
            (
                need.overlap,
                digits(need.seconds),
                *(f"{number:,}" for number in (need.workers, need.cores, need.gpus)),
            )
            for need in self.needs
        ]
        yield Table("Workers, by how their stages overlap:", head, rows).markdown()

    def _arithmetic(self) -> Iterator[str]:
        """The calculation of the recommended demand."""
        need, cost = self.needs[-1], self.cost
        day = f"({SECONDS_PER_DAY:,} s x {self.utilisation:g})"
        yield f"Calculation for stages {need.overlap}:"
        yield (
            f"workers = {self.products:,} x {digits(need.seconds)} s / {day} "
            f"= {digits(need.exactly)}, rounded up to {need.workers:,}"
        )
        yield f"cores   = {need.workers:,} x {cost.threads} = {need.cores:,}"
        if cost.gpus:
            yield f"GPUs    = {need.workers:,} x {cost.gpus} = {need.gpus:,}"
        for name, option, size in (
            ("read   ", "--input-gb", cost.bytes_in),
            ("written", "--output-gb", cost.bytes_out),
        ):
            if size is None:
                yield f"{name} : unknown; set {option}"
                continue
            rate = self.bandwidth(size)
            yield (
                f"{name} = {self.products:,} x {amount(size, 'B')} / {day} = "
                f"{amount(rate, 'B/s')} ({digits(8 * rate / 1e9)} Gbit/s), "
                f"{amount(self.products * size, 'B')} per day"
            )
        if cost.bytes_in is not None:
            share = self.products * cost.bytes_in / ARCHIVE_BYTES_PER_DAY
            yield (
                f"The input is {digits(100 * share)} % of the approximately "
                f"{amount(ARCHIVE_BYTES_PER_DAY, 'B')} per day of Sentinel-2"
            )


def measured_plans(
    products: int,
    utilisation: float,
    out: Path,
    bytes_in: float | None = None,
    bytes_out: float | None = None,
) -> list[CapacityPlan]:
    """Plans from the times of a fleet, one for each kind of worker.

    They use the latest run that computed a product, and all runs with the same verb, version and
    settings.

    Args:
        products: Full products per day.
        utilisation: Share of the day in which workers process products.
        out: Output folder of the fleet.
        bytes_in: Size of a full product, in place of the measured one.
        bytes_out: Size of its result, in place of the measured one.

    Raises:
        FleetError: No fleet has run there, or it computed no product.
    """
    history = read_history(out, keep_products=True)
    if not history.completed:
        raise FleetError(f"{out}: no product was computed there, so no time was measured")
    verb = history.runs[history.completed[-1].run].run["verb"]
    plans = []
    for cost in costs(history):
        sized = replace(
            cost, bytes_in=bytes_in or cost.bytes_in, bytes_out=bytes_out or cost.bytes_out
        )
        plans.append(CapacityPlan(products, utilisation, sized, f"fleet {verb} in {out}"))
    return plans


def costs(history: History) -> list[ProductCost]:
    """The cost of a full product for each kind of worker; the kind with most pixels first."""
    kinds: dict[tuple[str, int, int], list[CompletedProduct]] = {}
    configs = [[run.run[key] for key in ("verb", "version", "settings")] for run in history.runs]
    for product in history.completed:
        worker = history.workers.get((product.run, product.worker))
        if worker is not None and configs[product.run] == configs[history.completed[-1].run]:
            device = "cuda" if product.device.startswith("cuda") else "cpu"
            gpus = max(1, worker.gpus) if device == "cuda" else 0
            kinds.setdefault((device, worker.threads, gpus), []).append(product)
    found = [_cost(history.stages, *kind, products) for kind, products in kinds.items()]
    return sorted(found, key=lambda cost: -cost.pixels)


def _cost(
    stages: Sequence[str],
    device: str,
    threads: int,
    gpus: int,
    products: Sequence[CompletedProduct],
) -> ProductCost:
    """Sums over the products of one kind of worker, scaled to a full product."""
    pixels = sum(one.pixels for one in products)
    scale = EDGE**2 / pixels
    seconds = {name: scale * sum(one.stages.get(name, 0.0) for one in products) for name in stages}
    waiting = seconds.pop(WAIT, 0.0)
    return ProductCost(
        device=device,
        threads=threads,
        gpus=gpus,
        stages={name: value for name, value in seconds.items() if value > 0},
        waiting=waiting,
        busy=scale * _busy_seconds(products),
        bytes_in=_full_size([(one.bytes_in, one.pixels) for one in products]),
        bytes_out=_full_size([(one.bytes_out, one.pixels) for one in products]),
        products=len(products),
        pixels=pixels,
    )


def _full_size(products: Sequence[tuple[int, int]]) -> float | None:
    """Bytes of a full product, from (bytes, pixels) of others; 0 bytes mean unknown."""
    known = [(size, pixels) for size, pixels in products if size]
    if not known:
        return None
    return EDGE**2 * sum(size for size, _ in known) / sum(pixels for _, pixels in known)


def _busy_seconds(products: Sequence[CompletedProduct]) -> float:
    """Seconds in which workers processed at least one product, summed over workers."""
    total = 0.0
    busy_until: dict[tuple[int, str], float] = {}
    for one in sorted(products, key=lambda one: one.start):
        worker = (one.run, one.worker)
        total += max(0.0, one.end - max(one.start, busy_until.get(worker, one.start)))
        busy_until[worker] = max(one.end, busy_until.get(worker, one.end))
    return total
