"""Speed of a fleet compared with one process, overhead per product, and fault tolerance.

The products are small crops of real scenes. Everything is measured in one run on one machine.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decametre.fleet.events import Event, read_events
from decametre.sentinel2.opening import open_product
from tests.support.synthetic_products import make_products

log = logging.getLogger(__name__)

WORKERS = 2

TRUNCATED, INCOMPLETE = 1, 2
"""Indices of the faulty products: the file of a band is truncated in one, and missing in one."""

KILL_AT, INTERRUPT_AT = 0.2, 0.5
"""Shares of completed products at which a worker is killed, and the fleet is interrupted."""


@dataclass(frozen=True)
class Times:
    """Times of a run in seconds.

    Attributes:
        total: From the start of the process to its end.
        working: From the start of the first product to the end of the last.
    """

    total: float
    working: float

    def __str__(self) -> str:
        return f"{self.total:.1f} s, {self.working:.1f} s of it from first product to last"

    def compared_with(self, other: Times) -> str:
        """How many times as long as another run it took."""
        return (
            f"{self.total / other.total:.2f} in total, **{self.working / other.working:.2f}** "
            "from first product to last"
        )


@dataclass(frozen=True)
class Speed:
    """A fleet compared with one process, all processes with one thread.

    Attributes:
        products: Number of products.
        one_core: Times of one process on one core.
        prefetching: Times of one process that may prefetch on the other cores.
        fleet: Times of the fleet.
        between_ms: Idle time of a worker between two products, median.
        same_bytes: Number of identical files, and of all files.
    """

    products: int
    one_core: Times
    prefetching: Times
    fleet: Times
    between_ms: float
    same_bytes: tuple[int, int]


@dataclass(frozen=True)
class Faults:
    """A fleet with two faulty products and a killed worker, interrupted and started again.

    Attributes:
        products: Number of products.
        done: Number of products that have an item at the end.
        failed: Stage and reason by name of a failed product.
        done_twice: Number of products that were completed more than once, from the journal.
        same_bytes: Number of files identical to those of one process, and of all files.
        left_over: Number of files of unfinished products.
        killed_at: Number of completed products when a worker was killed.
        interrupted_at: Number of completed products when the fleet was interrupted.
        statuses: Exit statuses of the interrupted run and the one after it.
    """

    products: int
    done: int
    failed: dict[str, str]
    done_twice: int
    same_bytes: tuple[int, int]
    left_over: int
    killed_at: int
    interrupted_at: int
    statuses: tuple[int, int]


@dataclass(frozen=True)
class Report:
    """The results of the benchmark.

    Attributes:
        edge: Edge of the products in 10 m pixels.
        cores: CPU cores of the machine.
        speed: Results without faults.
        faults: Results with faults.
    """

    edge: int
    cores: int
    speed: Speed
    faults: Faults

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON."""
        return asdict(self)

    def table(self) -> str:
        """The results as Markdown."""
        speed, faults = self.speed, self.faults
        rows = [
            ("one process on one core", str(speed.one_core)),
            ("one process that prefetches on another core", str(speed.prefetching)),
            (f"fleet of {WORKERS} workers of one thread", str(speed.fleet)),
            ("one core / fleet", speed.one_core.compared_with(speed.fleet)),
            ("prefetching / fleet", speed.prefetching.compared_with(speed.fleet)),
            ("from a product's end to the next one's start", f"{speed.between_ms:.0f} ms"),
            ("identical files", "{} of {}".format(*speed.same_bytes)),
            (
                f"with faults: a worker killed after {faults.killed_at}, interrupted after "
                f"{faults.interrupted_at}, started again: completed",
                f"{faults.done}, {faults.done_twice} twice",
            ),
            ("identical files", "{} of {}".format(*faults.same_bytes)),
            ("failed", "; ".join(faults.failed.values())),
            ("files left over", f"{faults.left_over}"),
            ("exit statuses", "{} and {}".format(*faults.statuses)),
        ]
        head = f"{speed.products} products of {self.edge} x {self.edge} pixels, {self.cores} cores"
        return "\n".join([f"| {head} | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def run(sources: Sequence[str], cache: Path, count: int, edge: int, precision: str) -> Report:
    """Run the benchmark.

    Args:
        sources: Products that are cropped.
        cache: Folder in which the crops are kept for the next run. Results are written there and
            removed.
        count: Number of products.
        edge: Edge of each product in 10 m pixels, a multiple of 6.
        precision: `float32` or `bfloat16`.
    """
    scenes = [open_product(source) for source in sources]
    good = make_products(scenes, cache / f"products_{edge}", count, edge)
    work = cache / "fleet"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        speed = measure_speed(good, work, precision)
        faults = measure_faults(good, work, precision)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Report(edge, os.cpu_count() or 1, speed, faults)


def measure_speed(products: Sequence[Path], work: Path, precision: str) -> Speed:
    """Run one process and a fleet on the same list."""
    listing = write_list(work / "products.txt", products)
    alone, fleet = work / "alone", work / "out"
    command = [sys.executable, "-m", "benchmarks.fleet_alone", str(listing)]
    one_core = timed([*command, str(alone), precision, "1"])
    prefetching = timed([*command, str(work / "prefetching"), precision, str(WORKERS)])
    total, _ = timed(fleet_command(listing, fleet, precision))
    events = list(read_events(fleet))
    done = [event for event in events if event["event"] == "done"]
    working = max(event["end"] for event in done) - min(event["start"] for event in done)
    return Speed(
        products=len(products),
        one_core=Times(one_core[0], float(one_core[1])),
        prefetching=Times(prefetching[0], float(prefetching[1])),
        fleet=Times(total, working),
        between_ms=1000 * float(np.median(gaps(events))),
        same_bytes=same_files(alone, fleet, [path.stem for path in products]),
    )


def measure_faults(products: Sequence[Path], work: Path, precision: str) -> Faults:
    """Run a fleet that loses a worker and is interrupted, and resume it."""
    faulty = list(products)
    for number, damage in ((TRUNCATED, truncate), (INCOMPLETE, Path.unlink)):
        copy = work / "faulty" / products[number].name
        shutil.copytree(products[number], copy)
        damage(next(copy.rglob("*B05*.jp2")))
        faulty[number] = copy
    out = work / "faults"
    command = fleet_command(write_list(work / "faulty.txt", faulty), out, precision)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    killed_at = wait_for(out, round(KILL_AT * len(products)), process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    interrupted_at = wait_for(out, round(INTERRUPT_AT * len(products)), process)
    process.send_signal(signal.SIGINT)
    first = process.wait()
    second = subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode
    events = list(read_events(out))
    ended = Counter(e["name"] for e in events if e["event"] == "done" and not e["already"])
    names = [path.stem for path in faulty]
    done = [name for name in names if (out / name / f"{name}.json").exists()]
    unfinished = [p for name in set(names) - set(done) for p in (out / name).rglob("*")]
    return Faults(
        products=len(products),
        done=len(done),
        failed=failures_of(events),
        done_twice=sum(count > 1 for count in ended.values()),
        same_bytes=same_files(work / "alone", out, done),
        left_over=len(unfinished) + len(list(out.glob("*/.*"))),
        killed_at=killed_at,
        interrupted_at=interrupted_at,
        statuses=(first, second),
    )


def write_list(path: Path, products: Sequence[Path]) -> Path:
    """Write a list of products for a fleet; returns its path."""
    path.write_text("".join(f"{product}\n" for product in products), encoding="utf-8")
    return path


def fleet_command(listing: Path, out: Path, precision: str) -> list[str]:
    """The command line of a fleet."""
    words = [sys.executable, "-m", "decametre", "-q", "fleet", "sharpen", str(listing), str(out)]
    return [*words, "--device", "cpu", "--precision", precision, "--workers", str(WORKERS)]


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Run a command with one thread; returns the seconds and its standard output."""
    start = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return time.monotonic() - start, ended.stdout.decode()


def gaps(events: Sequence[Event]) -> list[float]:
    """Seconds from the end of each product to the start of the worker's next one."""
    ended: dict[str, float] = {}
    found = []
    done = [event for event in events if event["event"] == "done"]
    for event in sorted(done, key=lambda event: float(event["start"])):
        if event["worker"] in ended:
            found.append(event["start"] - ended[event["worker"]])
        ended[event["worker"]] = event["end"]
    return found


def same_files(one: Path, other: Path, names: Sequence[str]) -> tuple[int, int]:
    """Number of files of these products that are identical in both folders, and of all files."""
    files = [path for name in names for path in sorted((one / name).iterdir())]
    files += [p for name in names for p in (other / name).iterdir() if not _twin(p, one).exists()]
    same = sum(
        _twin(path, other).exists() and path.read_bytes() == _twin(path, other).read_bytes()
        for path in files
    )
    return same, len(files)


def _twin(path: Path, folder: Path) -> Path:
    """The file with the same product and name in another folder of results."""
    return folder / path.parent.name / path.name


def truncate(path: Path) -> None:
    """Truncate a file to half its size."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def wait_for(out: Path, count: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until at least `count` products are completed; returns their number."""
    while True:
        done = sum(event["event"] == "done" for event in read_events(out))
        if done >= count:
            return done
        if process.poll() is not None:
            raise RuntimeError(f"the fleet ended with status {process.returncode} after {done}")
        time.sleep(0.05)


def workers_of(driver: int) -> list[int]:
    """Process ids of the workers of a fleet."""
    children = Path(f"/proc/{driver}/task").glob("*/children")
    numbers = [int(word) for path in children for word in path.read_text().split()]
    return [n for n in numbers if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes()]


def failures_of(events: Sequence[Event]) -> dict[str, str]:
    """Stage and reason of each product that failed finally in the last run."""
    found: dict[str, str] = {}
    for event in events:
        if event["event"] == "run":
            found = {}
        elif event["event"] == "failed" and event["final"]:
            found[event["name"]] = f"{event['stage']}: {event['reason']}"
    return found
