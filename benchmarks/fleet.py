"""What a fleet gains over one process, what it costs for each product, and what survives faults.

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

CORRUPT, LACKING = 1, 2
"""Which products are made faulty: one band's file cut short, one band's file gone."""

KILL_AT, INTERRUPT_AT = 0.2, 0.5
"""Shares of the products after which a worker is killed, and the fleet interrupted."""


@dataclass(frozen=True)
class Speed:
    """A fleet against one process, both with one thread a process.

    Attributes:
        products: How many.
        alone: One process, confined to one core: seconds from its start to its end, and from the
            beginning of the first product to the end of the last.
        alone_free: The same, free to read ahead on the other cores.
        fleet: The fleet, likewise.
        between_ms: What a worker waited from the end of a product to the start of the next: median.
        same_bytes: Files that are the same in both, and all.
    """

    products: int
    alone: tuple[float, float]
    alone_free: tuple[float, float]
    fleet: tuple[float, float]
    between_ms: float
    same_bytes: tuple[int, int]


@dataclass(frozen=True)
class Faults:
    """A fleet with two faulty products, a worker killed, interrupted, and started again.

    Attributes:
        products: How many.
        done: Products whose item stands at the end.
        failed: Those in `failures.jsonl`, with stage and reason.
        done_twice: Products that the journal says were done more than once.
        same_bytes: Files that are the same as those of one process, and all.
        left_over: Files of unfinished products that are left.
        killed_at: Products done when a worker was killed.
        interrupted_at: Products done when the fleet was interrupted.
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
    """What was measured.

    Attributes:
        edge: Of the products in 10 m pixels.
        cores: Of the machine.
        speed: Without faults.
        faults: With faults.
    """

    edge: int
    cores: int
    speed: Speed
    faults: Faults

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def table(self) -> str:
        """For the terminal, in Markdown."""
        speed, faults = self.speed, self.faults
        rows = [
            ("one process on one core", seconds(speed.alone)),
            ("one process, free to read ahead on another", seconds(speed.alone_free)),
            (f"fleet of {WORKERS} workers of one thread", seconds(speed.fleet)),
            ("one core / fleet", ratios(speed.alone, speed.fleet)),
            ("free / fleet", ratios(speed.alone_free, speed.fleet)),
            ("from a product's end to the next one's start", f"{speed.between_ms:.0f} ms"),
            ("files that are the same, of all", "{} of {}".format(*speed.same_bytes)),
            (
                f"with faults: a worker killed after {faults.killed_at}, interrupted after "
                f"{faults.interrupted_at}, started again: done",
                f"{faults.done}, {faults.done_twice} twice",
            ),
            ("files that are the same, of all", "{} of {}".format(*faults.same_bytes)),
            ("failed", "; ".join(faults.failed.values())),
            ("files left over", f"{faults.left_over}"),
            ("exit statuses", "{} and {}".format(*faults.statuses)),
        ]
        head = f"{speed.products} products of {self.edge} x {self.edge} pixels, {self.cores} cores"
        return "\n".join([f"| {head} | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def run(sources: Sequence[str], cache: Path, count: int, edge: int, precision: str) -> Report:
    """Measure.

    Args:
        sources: Products that are cropped.
        cache: Where the crops are kept for the next time; results are written there, and removed.
        count: Products.
        edge: Of each in 10 m pixels, a multiple of 6.
        precision: `float32` or `bfloat16`: `auto` might choose otherwise in each process.
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
    """One process, and a fleet, over the same list."""
    listing = write_list(work / "products.txt", products)
    alone, fleet = work / "alone", work / "out"
    command = [sys.executable, "-m", "benchmarks.fleet_alone", str(listing)]
    confined = timed([*command, str(alone), precision, "1"])
    free = timed([*command, str(work / "free"), precision, str(WORKERS)])
    whole, _ = timed(fleet_command(listing, fleet, precision))
    events = list(read_events(fleet))
    done = [event for event in events if event["event"] == "done"]
    working = max(event["end"] for event in done) - min(event["start"] for event in done)
    return Speed(
        products=len(products),
        alone=(confined[0], float(confined[1])),
        alone_free=(free[0], float(free[1])),
        fleet=(whole, working),
        between_ms=1000 * float(np.median(gaps(events))),
        same_bytes=same_files(alone, fleet, [path.stem for path in products]),
    )


def measure_faults(products: Sequence[Path], work: Path, precision: str) -> Faults:
    """A fleet that loses a worker, is interrupted, and is started again."""
    spoiled = list(products)
    for number, spoil in ((CORRUPT, cut_short), (LACKING, remove)):
        copy = work / "spoiled" / products[number].name
        shutil.copytree(products[number], copy)
        spoil(next(copy.rglob("*B05*.jp2")))
        spoiled[number] = copy
    out = work / "faults"
    command = fleet_command(write_list(work / "spoiled.txt", spoiled), out, precision)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    killed_at = wait_for(out, round(KILL_AT * len(products)), process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    interrupted_at = wait_for(out, round(INTERRUPT_AT * len(products)), process)
    process.send_signal(signal.SIGINT)
    first = process.wait()
    second = subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode
    events = list(read_events(out))
    ended = Counter(e["name"] for e in events if e["event"] == "done" and not e["already"])
    names = [path.stem for path in spoiled]
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
    """A list of products as a fleet reads it."""
    path.write_text("".join(f"{product}\n" for product in products), encoding="utf-8")
    return path


def fleet_command(listing: Path, out: Path, precision: str) -> list[str]:
    """The command line of a fleet."""
    words = [sys.executable, "-m", "decametre", "-q", "fleet", "sharpen", str(listing), str(out)]
    return [*words, "--device", "cpu", "--precision", precision, "--workers", str(WORKERS)]


def seconds(measured: tuple[float, float]) -> str:
    """Both figures, in words."""
    return "{:.1f} s, of which {:.1f} s from the first product to the last".format(*measured)


def ratios(one: tuple[float, float], other: tuple[float, float]) -> str:
    """Of the whole, and of the work."""
    return f"{one[0] / other[0]:.2f} of the whole, **{one[1] / other[1]:.2f}** of the work"


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Seconds that a process takes, with one thread, and what it prints."""
    start = time.monotonic()
    one = {"OMP_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    environment = os.environ | one
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
    """Files of these products that are the same, bit for bit, in both folders; and all."""
    files = [path for name in names for path in sorted((one / name).iterdir())]
    files += [p for name in names for p in (other / name).iterdir() if not _twin(p, one).exists()]
    same = sum(
        _twin(path, other).exists() and path.read_bytes() == _twin(path, other).read_bytes()
        for path in files
    )
    return same, len(files)


def _twin(path: Path, folder: Path) -> Path:
    """The file of the same product and name in another folder of results."""
    return folder / path.parent.name / path.name


def cut_short(path: Path) -> None:
    """Keep the first half of a file."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def wait_for(out: Path, count: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until so many products are done; returns how many are."""
    while True:
        done = sum(event["event"] == "done" for event in read_events(out))
        if done >= count:
            return done
        if process.poll() is not None:
            raise RuntimeError(f"the fleet ended with status {process.returncode} after {done}")
        time.sleep(0.05)


def workers_of(driver: int) -> list[int]:
    """Process numbers of a fleet's workers."""
    children = Path(f"/proc/{driver}/task").glob("*/children")
    numbers = [int(word) for path in children for word in path.read_text().split()]
    return [n for n in numbers if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes()]


def failures_of(events: Sequence[Event]) -> dict[str, str]:
    """Stage and reason of each product that failed for good in the last run."""
    found: dict[str, str] = {}
    for event in events:
        if event["event"] == "run":
            found = {}
        elif event["event"] == "failed" and event["final"]:
            found[event["name"]] = f"{event['stage']}: {event['reason']}"
    return found
