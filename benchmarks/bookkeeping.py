"""What a fleet costs beside the work itself, over as many products as anyone will ever give it.

The products are no work at all, and the fleet that does them is a real one. It is interrupted when
nine of ten are done, started again, and started once more when all are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bookkeeping_driver import INTERRUPTED, WORKERS
from benchmarks.fleet import gaps
from decametre.errors import DecametreError
from decametre.fleet.catalog import Catalog
from decametre.fleet.events import Event, read_events

INTERRUPT_AT = 0.9
"""Share of the products after which the fleet is interrupted."""

SHOWN = (0.1, 0.5, INTERRUPT_AT)
"""Shares at which the driver is looked at."""


@dataclass(frozen=True)
class Sample:
    """The driver at a moment: scheduler and client are in its process.

    Attributes:
        done: Products.
        seconds: Since the first product was handed out.
        processor_seconds: Of the driver since then.
        memory_mb: Resident, in 1e6 bytes.
        catalog_mb: Written for the catalog since then, pages that were written again included.
        journal_mb: Written for the journal since then.
    """

    done: int
    seconds: float
    processor_seconds: float
    memory_mb: float
    catalog_mb: float
    journal_mb: float


@dataclass(frozen=True)
class Start:
    """A start of the driver.

    Attributes:
        done: Products that it did.
        done_before: Products that it found done.
        ready: Seconds until it knew what is done, the catalog was in order and workers were there.
        begun: Seconds until its first product was begun; None if there was none.
        seconds: From start to end, the start of Python and of the workers included.
        processor_seconds: Of it and its workers.
    """

    done: int
    done_before: int
    ready: float
    begun: float | None
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        products: How many.
        cores: Of the machine.
        samples: While the first start did its part.
        between_ms: What a worker waited from the end of a product to the start of the next: the
            median, and what one in a hundred exceeds.
        starts: Interrupted; gone on to the end; with nothing left to do.
        done_twice: Products that the journal says were done more than once.
        linked: Items that the catalog links to at the end.
    """

    products: int
    cores: int
    samples: Sequence[Sample]
    between_ms: tuple[float, float]
    starts: Sequence[Start]
    done_twice: int
    linked: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def table(self) -> str:
        """For the terminal, in Markdown."""
        first = self.samples[0]
        shown = [min(self.samples, key=lambda s: abs(s.done - x * self.products)) for x in SHOWN]
        head = f"{self.products:,} products, {WORKERS} workers of one thread, {self.cores} cores"
        rows = [
            (head, *(f"{sample.done:,} done" for sample in shown)),
            ("---",) * 4,
            (
                f"memory of scheduler and client ({first.memory_mb:.0f} MB before)",
                *(f"{sample.memory_mb:.0f} MB" for sample in shown),
            ),
            ("written for the catalog", *(f"{sample.catalog_mb:.0f} MB" for sample in shown)),
            (
                "of that, a product",
                *(f"{1000 * sample.catalog_mb / sample.done:.1f} kB" for sample in shown),
            ),
            ("written for the journal", *(f"{sample.journal_mb:.1f} MB" for sample in shown)),
            (
                "products a second until then",
                *(f"{sample.done / sample.seconds:.1f}" for sample in shown),
            ),
            (
                "processor time of the driver, a product",
                *(f"{1000 * sample.processor_seconds / sample.done:.1f} ms" for sample in shown),
            ),
        ]
        starts = [
            (
                "start",
                "found done",
                "did",
                "workers ready after",
                "first product begun after",
                "ended after",
                "processor time",
            ),
            ("---",) * 7,
            *(
                (
                    name,
                    f"{start.done_before:,}",
                    f"{start.done:,}",
                    f"{start.ready:.1f} s",
                    "-" if start.begun is None else f"{start.begun:.1f} s",
                    f"{start.seconds:.1f} s",
                    f"{start.processor_seconds:.0f} s",
                )
                for name, start in zip(
                    ("interrupted", "gone on", "nothing left"), self.starts, strict=True
                )
            ),
        ]
        whole = shown[-1]
        median, late = self.between_ms
        said = [
            f"From a product's end to the next one's start: {median:.0f} ms (median), "
            f"{late:.0f} ms in one of a hundred.",
            f"Time of the whole / product: {1000 * whole.seconds / whole.done:.1f} ms.",
            f"Done twice: {self.done_twice}; linked in the catalog: {self.linked:,}.",
        ]
        tables = ["\n".join(f"| {' | '.join(row)} |" for row in part) for part in (rows, starts)]
        return "\n\n".join([*tables, "\n".join(said)])


def run(count: int, folder: Path) -> Report:
    """Measure.

    Args:
        count: Products.
        folder: Where results are written, some 30 kB for each product on the disk; removed after.

    Raises:
        DecametreError: A driver ended otherwise than it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bookkeeping-", dir=folder) as work:
        out, samples = Path(work) / "out", Path(work) / "samples.jsonl"
        command = [sys.executable, "-m", "benchmarks.bookkeeping_driver"]
        command += [str(out), str(count), str(samples)]
        clocks = [driven([*command, str(round(INTERRUPT_AT * count))], INTERRUPTED)]
        taken = read_samples(samples)
        clocks += [driven(command), driven(command)]
        events = list(read_events(out))
        return Report(
            products=count,
            cores=os.cpu_count() or 1,
            samples=taken,
            between_ms=waits(events),
            starts=starts_of(events, clocks),
            done_twice=done_twice(events),
            linked=len(Catalog(out, "Sentinel-2 products")),
        )


@dataclass(frozen=True)
class Clock:
    """A process that has ended.

    Attributes:
        began: When, in seconds since 1970.
        seconds: That it took.
        processor_seconds: Of it and its children.
    """

    began: float
    seconds: float
    processor_seconds: float


def driven(command: Sequence[str], expected: int = 0) -> Clock:
    """Run the driver.

    Args:
        command: Its words.
        expected: Its exit status.

    Raises:
        DecametreError: The driver ended with another status.
    """
    began, before = time.time(), _processor_seconds()
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if run.returncode != expected:
        last = run.stderr.strip().rsplit("\n", 1)[-1]
        raise DecametreError(f"{' '.join(command)} ended with status {run.returncode}: {last}")
    return Clock(began, time.time() - began, _processor_seconds() - before)


def _processor_seconds() -> float:
    """Of all children that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def read_samples(path: Path) -> list[Sample]:
    """What the driver wrote of itself, counted from the first line on."""
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = raw[0]
    return [
        Sample(
            done=each["done"],
            seconds=each["time"] - first["time"],
            processor_seconds=each["processor_seconds"] - first["processor_seconds"],
            memory_mb=each["memory"] / 1e6,
            catalog_mb=(_catalog_bytes(each) - _catalog_bytes(first)) / 1e6,
            journal_mb=(each["journal"] - first["journal"]) / 1e6,
        )
        for each in raw
    ]


def _catalog_bytes(sample: dict[str, Any]) -> int:
    """What is written is catalog and journal, and a line of the log now and then."""
    return int(sample["written"] - sample["journal"])


def waits(events: Sequence[Event]) -> tuple[float, float]:
    """Milliseconds between two products of a worker: the median, and the 99th percentile."""
    found = 1000 * np.array(gaps(events))
    return float(np.median(found)), float(np.percentile(found, 99))


def starts_of(events: Sequence[Event], clocks: Sequence[Clock]) -> list[Start]:
    """What the journal says of each start."""
    parts: list[list[Event]] = []
    for event in events:
        if event["event"] == "run":
            parts.append([])
        parts[-1].append(event)
    found = []
    for part, clock in zip(parts, clocks, strict=True):
        done = [event for event in part if event["event"] == "done"]
        found.append(
            Start(
                done=len(done),
                done_before=part[0]["done_before"],
                ready=part[0]["time"] - clock.began,
                begun=min(event["start"] for event in done) - clock.began if done else None,
                seconds=clock.seconds,
                processor_seconds=clock.processor_seconds,
            )
        )
    return found


def done_twice(events: Sequence[Event]) -> int:
    """Products that were made more than once."""
    made = Counter(e["name"] for e in events if e["event"] == "done" and not e["already"])
    return sum(number > 1 for number in made.values())
