"""The overhead of a fleet, with 100,000 products.

The fleet is a real one, but its products need no computation. It is interrupted when nine of ten
products are completed, started again, and started once more when all are completed.
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
from benchmarks.process_monitor import children_cpu_seconds
from decametre.errors import DecametreError
from decametre.fleet.catalog import Catalog
from decametre.fleet.events import Event, read_events

INTERRUPT_AT = 0.9
"""Share of the products after which the fleet is interrupted."""

SHOWN = (0.1, 0.5, INTERRUPT_AT)
"""Shares of completed products for which the table has a column."""


@dataclass(frozen=True)
class Sample:
    """Resources of the driver process, which contains scheduler and client, at one moment.

    Attributes:
        done: Number of completed products.
        seconds: Time since the first product was submitted.
        cpu_seconds: CPU time of the driver since then.
        memory_mb: Resident memory in 1e6 bytes.
        catalog_mb: Amount written to the catalog since then, rewritten pages included.
        journal_mb: Amount written to the journal since then.
    """

    done: int
    seconds: float
    cpu_seconds: float
    memory_mb: float
    catalog_mb: float
    journal_mb: float


@dataclass(frozen=True)
class Start:
    """One run of the driver.

    Attributes:
        done: Number of products that it completed.
        done_before: Number of products that were completed before.
        ready: Seconds until completed products were found, the catalog was complete and workers had
            connected.
        begun: Seconds until its first product was started; None if there was none.
        seconds: From start to end, the start of Python and of the workers included.
        cpu_seconds: CPU time of the driver and its workers.
    """

    done: int
    done_before: int
    ready: float
    begun: float | None
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Report:
    """The results of the benchmark.

    Attributes:
        products: Number of products.
        cores: CPU cores of the machine.
        samples: Resources of the driver during the first run.
        between_ms: Idle time of a worker between two products: median and 99th percentile.
        starts: The interrupted run, the one that completes the products, and one with nothing to
            do.
        done_twice: Number of products that were completed more than once, from the journal.
        linked: Number of items that the catalog links to at the end.
    """

    products: int
    cores: int
    samples: Sequence[Sample]
    between_ms: tuple[float, float]
    starts: Sequence[Start]
    done_twice: int
    linked: int

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON."""
        return asdict(self)

    def table(self) -> str:
        """The results as Markdown."""
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
                "catalog, per product",
                *(f"{1000 * sample.catalog_mb / sample.done:.1f} kB" for sample in shown),
            ),
            ("written for the journal", *(f"{sample.journal_mb:.1f} MB" for sample in shown)),
            (
                "products per second until then",
                *(f"{sample.done / sample.seconds:.1f}" for sample in shown),
            ),
            (
                "CPU time of the driver, per product",
                *(f"{1000 * sample.cpu_seconds / sample.done:.1f} ms" for sample in shown),
            ),
        ]
        starts = [
            (
                "run",
                "completed before",
                "completed",
                "workers ready after",
                "first product started after",
                "ended after",
                "CPU time",
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
                    f"{start.cpu_seconds:.0f} s",
                )
                for name, start in zip(
                    ("interrupted", "resumed", "nothing to do"), self.starts, strict=True
                )
            ),
        ]
        last = shown[-1]
        median, late = self.between_ms
        lines = [
            f"From a product's end to the next one's start: {median:.0f} ms (median), "
            f"{late:.0f} ms in one of a hundred.",
            f"Total time / product: {1000 * last.seconds / last.done:.1f} ms.",
            f"Completed twice: {self.done_twice}; linked in the catalog: {self.linked:,}.",
        ]
        tables = ["\n".join(f"| {' | '.join(row)} |" for row in part) for part in (rows, starts)]
        return "\n\n".join([*tables, "\n".join(lines)])


def run(count: int, folder: Path) -> Report:
    """Run the benchmark.

    Args:
        count: Number of products.
        folder: Folder for the results, about 30 kB per product; they are removed at the end.

    Raises:
        DecametreError: A driver ended with an unexpected status.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bookkeeping-", dir=folder) as work:
        out, samples = Path(work) / "out", Path(work) / "samples.jsonl"
        command = [sys.executable, "-m", "benchmarks.bookkeeping_driver"]
        command += [str(out), str(count), str(samples)]
        clocks = [run_driver([*command, str(round(INTERRUPT_AT * count))], INTERRUPTED)]
        taken = read_samples(samples)
        clocks += [run_driver(command), run_driver(command)]
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
class ProcessTimes:
    """Times of a process that has ended.

    Attributes:
        began: Time of its start in seconds since 1970.
        seconds: Its duration.
        cpu_seconds: CPU time of it and its children.
    """

    began: float
    seconds: float
    cpu_seconds: float


def run_driver(command: Sequence[str], expected: int = 0) -> ProcessTimes:
    """Run the driver.

    Args:
        command: Its words.
        expected: The exit status that it should have.

    Raises:
        DecametreError: The driver ended with another status.
    """
    began, before = time.time(), children_cpu_seconds()
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if run.returncode != expected:
        last = run.stderr.strip().rsplit("\n", 1)[-1]
        raise DecametreError(f"{' '.join(command)} ended with status {run.returncode}: {last}")
    return ProcessTimes(began, time.time() - began, children_cpu_seconds() - before)


def read_samples(path: Path) -> list[Sample]:
    """The samples that the driver wrote, relative to the first one."""
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = raw[0]
    return [
        Sample(
            done=each["done"],
            seconds=each["time"] - first["time"],
            cpu_seconds=each["cpu_seconds"] - first["cpu_seconds"],
            memory_mb=each["memory"] / 1e6,
            catalog_mb=(_catalog_bytes(each) - _catalog_bytes(first)) / 1e6,
            journal_mb=(each["journal"] - first["journal"]) / 1e6,
        )
        for each in raw
    ]


def _catalog_bytes(sample: dict[str, Any]) -> int:
    """Everything that was written, except the journal; log lines are few."""
    return int(sample["written"] - sample["journal"])


def waits(events: Sequence[Event]) -> tuple[float, float]:
    """Milliseconds between two products of a worker: the median, and the 99th percentile."""
    found = 1000 * np.array(gaps(events))
    return float(np.median(found)), float(np.percentile(found, 99))


def starts_of(events: Sequence[Event], clocks: Sequence[ProcessTimes]) -> list[Start]:
    """The runs of the driver, from the journal."""
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
                cpu_seconds=clock.cpu_seconds,
            )
        )
    return found


def done_twice(events: Sequence[Event]) -> int:
    """Number of products that were completed more than once."""
    completed = Counter(e["name"] for e in events if e["event"] == "done" and not e["already"])
    return sum(number > 1 for number in completed.values())
