"""How far a fleet is: its journal folded into counts, rates and the time left.

Events are folded one by one and then forgotten, so that a run of 100,000 products takes no more
memory than one of ten.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from decametre.errors import FleetError
from decametre.files import is_locked
from decametre.fleet.events import Event, events_path, read_events
from decametre.fleet.formatting import amount, digits, duration
from decametre.fleet.inputs.product_entry import FOLDER

RECENT_SECONDS = 900.0
"""Seconds that recent rates are taken over."""

BIN_SECONDS = 30.0
"""Seconds that are counted together for recent rates."""

MIN_RECENT_PRODUCTS = 10
"""Products that recent rates must rest on if the time left is to follow from them."""

FAILURES_LISTED = 3
"""Failed products of each stage that are named."""

STATES = {
    "running": "running",
    "complete": "complete",
    "failures": "ended; some products failed",
    "interrupted": "interrupted; the same command goes on with what is left",
    "lost": "ended without its cluster; the same command goes on with what is left",
    "killed": "killed before its end; the same command goes on with what is left",
}
"""What may be true of a run, in words."""


@dataclass(frozen=True)
class Worker:
    """A worker of now.

    Attributes:
        name: What the cluster calls it.
        host: Its machine.
        threads: Its processor threads.
        gpus: Its GPUs.
        memory: Bytes that it may use.
    """

    name: str
    host: str
    threads: int
    gpus: int
    memory: int


@dataclass
class StageFailures:
    """Products that failed for good in one stage.

    Attributes:
        count: How many.
        first: Name and reason of the first few.
    """

    count: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Rates:
    """What was done over some time; products that were found done do not count.

    Attributes:
        seconds: How long.
        products: Done in that time.
        bytes_in: Read in that time.
        bytes_out: Written in that time.
    """

    seconds: float
    products: int
    bytes_in: int
    bytes_out: int

    @property
    def per_hour(self) -> float:
        """Products."""
        return self.products / self.seconds * 3600 if self.seconds > 0 else 0.0

    @property
    def read(self) -> float:
        """Bytes a second."""
        return self.bytes_in / self.seconds if self.seconds > 0 else 0.0

    @property
    def written(self) -> float:
        """Bytes a second."""
        return self.bytes_out / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return {
            "seconds": round(self.seconds, 3),
            "products": self.products,
            "products_per_hour": round(self.per_hour, 3),
            "bytes_in_per_second": round(self.read, 1),
            "bytes_out_per_second": round(self.written, 1),
        }


@dataclass
class _Bin:
    """What ended within `BIN_SECONDS` seconds."""

    number: int
    products: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class RunProgress:
    """The latest run of a journal, as far as it was told.

    Attributes:
        run: The event that began it.
        done: Products that are done, those of earlier runs too.
        failed: Products that failed for good.
        repeated: Attempts that failed and were, or will be, followed by another.
        failures: By stage.
        workers: Those of now, by address.
        ended: How the run ended, `killed` included, which no event tells; None if it did not.
        last: When the latest event was.
        computed: Products done in this run, less those that were found done.
        bytes_in: Read for them.
        bytes_out: Written for them.
    """

    def __init__(self) -> None:
        self.run: Event = {}
        self._reset()

    def _reset(self) -> None:
        self.done = self.failed = self.repeated = 0
        self._told_running: int | None = None
        self.failures: dict[str, StageFailures] = {}
        self.workers: dict[str, Worker] = {}
        self.ended: str | None = None
        self.last = 0.0
        self.computed = self.bytes_in = self.bytes_out = 0
        self._first_worker: float | None = None
        self._bins: deque[_Bin] = deque()

    @property
    def all(self) -> int:
        """Products of the list."""
        return int(self.run.get("products", 0))

    @property
    def done_before(self) -> int:
        """Products that were done when the run began."""
        return int(self.run.get("done_before", 0))

    @property
    def left(self) -> int:
        """Products that are neither done nor failed; those at work are among them."""
        return max(0, self.all - self.done - self.failed)

    @property
    def running(self) -> int | None:
        """Products at work now; None where nothing tells.

        The driver says it at times. Until it says it again, a product that ends is followed by
        another as long as one is left; a worker that comes or goes changes it by nobody knows how
        many. None at all is what the driver says before it hands out the first.
        """
        if self.ended is not None or not self.workers or not self.left:
            return 0
        return min(self._told_running, self.left) if self._told_running else None

    def add(self, event: Event) -> None:
        """Fold the next event in. One that begins a run forgets the run before."""
        kind = event["event"]
        if kind == "run":
            self._reset()
            self.run = event
            self.done = self.done_before
        elif kind == "worker":
            self._worker(event)
        elif kind == "done":
            self._done(event)
        elif kind == "failed":
            self._failed(event)
        elif kind == "beat":
            self._told_running = event["running"]
        elif kind == "ended":
            self.ended = event["status"]
        self.last = event["time"]

    def _worker(self, event: Event) -> None:
        address = event["worker"]
        self._told_running = None
        if not event["joined"]:
            self.workers.pop(address, None)
            return
        if self._first_worker is None:
            self._first_worker = event["time"]
        self.workers[address] = Worker(
            str(event["name"]), event["host"], event["threads"], event["gpus"], event["memory"]
        )

    def _done(self, event: Event) -> None:
        self.done += 1
        if event["already"]:
            return
        self.computed += 1
        self.bytes_in += event["bytes_in"]
        self.bytes_out += event["bytes_out"]
        number = int(event["time"] // BIN_SECONDS)
        if not self._bins or self._bins[-1].number < number:
            self._bins.append(_Bin(number))
            while self._bins[0].number < number - RECENT_SECONDS / BIN_SECONDS:
                self._bins.popleft()
        latest = self._bins[-1]
        latest.products += 1
        latest.bytes_in += event["bytes_in"]
        latest.bytes_out += event["bytes_out"]

    def _failed(self, event: Event) -> None:
        if not event["final"]:
            self.repeated += 1
            return
        self.failed += 1
        found = self.failures.setdefault(event["stage"], StageFailures())
        found.count += 1
        if len(found.first) < FAILURES_LISTED:
            found.first.append((event["name"], event["reason"]))

    def elapsed(self, now: float) -> float:
        """Seconds since the run began."""
        return max(0.0, now - float(self.run.get("time", now)))

    def rates(self, now: float) -> Rates:
        """Over all the run, from its first worker on: a queue may have let it wait."""
        begin = self._first_worker
        seconds = self.elapsed(now) if begin is None else max(0.0, now - begin)
        return Rates(seconds, self.computed, self.bytes_in, self.bytes_out)

    def recent_rates(self, now: float) -> Rates:
        """Over the last `RECENT_SECONDS` seconds, or all the run if it is younger."""
        first = int((now - RECENT_SECONDS) // BIN_SECONDS)
        counted = [one for one in self._bins if one.number >= first]
        return Rates(
            min(now - first * BIN_SECONDS, self.rates(now).seconds),
            sum(one.products for one in counted),
            sum(one.bytes_in for one in counted),
            sum(one.bytes_out for one in counted),
        )

    def seconds_left(self, now: float) -> float | None:
        """By the recent rate if enough products tell it, else by that over all.

        Large products come first, so this is rather too long than too short.

        Returns:
            None where the run has ended, no worker is there, or no rate is known yet.
        """
        if self.ended is not None or (self.left and not self.workers):
            return None
        recent = self.recent_rates(now)
        per_hour = (recent if recent.products >= MIN_RECENT_PRODUCTS else self.rates(now)).per_hour
        if not self.left:
            return 0.0
        return self.left / per_hour * 3600 if per_hour else None

    def line(self, now: float | None = None) -> str:
        """One line for a log or a console.

        Args:
            now: Seconds since 1970; by default the time of now, or of the end if there was one.
        """
        if now is None:
            now = self.last if self.ended is not None else time.time()
        rates, recent, left = self.rates(now), self.recent_rates(now), self.seconds_left(now)
        shown = rates if self.ended is not None else recent
        parts = [
            counts(self),
            f"{digits(rates.per_hour)} products/h"
            + ("" if self.ended is not None else f", {digits(recent.per_hour)} of late"),
            f"in {amount(shown.read, 'B/s')}, out {amount(shown.written, 'B/s')}",
        ]
        if self.ended is None:
            parts.append(f"{len(self.workers)} worker{'' if len(self.workers) == 1 else 's'}")
        if left is not None:
            parts.append(f"{duration(left)} left")
        return "; ".join(parts)


def counts(progress: RunProgress) -> str:
    """What became of the products, in words."""
    before = f" ({progress.done_before:,} before)" if progress.done_before else ""
    parts = [f"{progress.done:,} of {progress.all:,} done{before}", f"{progress.failed:,} failed"]
    if progress.running is not None:
        parts.append(f"{progress.running:,} running")
    return ", ".join([*parts, f"{progress.left:,} left"])


@dataclass(frozen=True)
class Status:
    """What is to be said of a folder of results at one moment.

    Attributes:
        state: One of `STATES`.
        progress: Of its latest run.
        now: The moment: the run's end if it ended, that of the last event if it was killed.
    """

    state: str
    progress: RunProgress
    now: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        progress, now = self.progress, self.now
        return {
            "state": self.state,
            "verb": progress.run["verb"],
            "command": progress.run["command"],
            "version": progress.run["version"],
            "cluster": progress.run["cluster"],
            "dashboard": progress.run["dashboard"],
            "started": progress.run["time"],
            "last_event": progress.last,
            "elapsed": round(progress.elapsed(now), 3),
            "products": {
                "all": progress.all,
                "done": progress.done,
                "done_before": progress.done_before,
                "failed": progress.failed,
                "running": progress.running,
                "left": progress.left,
            },
            "attempts_repeated": progress.repeated,
            "rates": progress.rates(now).to_dict(),
            "recent_rates": progress.recent_rates(now).to_dict(),
            "seconds_left": progress.seconds_left(now) if self.state == "running" else None,
            "bytes_in": progress.bytes_in,
            "bytes_out": progress.bytes_out,
            "workers": {address: asdict(worker) for address, worker in progress.workers.items()}
            if self.state == "running"
            else {},
            "failures": {
                stage: {
                    "count": found.count,
                    "first": [{"name": name, "reason": reason} for name, reason in found.first],
                }
                for stage, found in progress.failures.items()
            },
        }


def status_of(out: Path, also: Callable[[Event], None] | None = None) -> Status:
    """Fold the journal of a folder of results.

    Args:
        out: The folder.
        also: Is told every event too.

    Raises:
        FleetError: No fleet has been at work there, or its journal is damaged.
    """
    at_work = driver_at_work(out)  # before reading: it may end meanwhile
    progress = RunProgress()
    for event in read_events(out):
        progress.add(event)
        if also is not None:
            also(event)
    if not progress.run:
        raise FleetError(
            f"{out}: no fleet has been at work there ({events_path(out)} tells of no run); "
            f"give the folder that was the OUT of `decametre fleet sharpen`, `extract` or `predict`"
        )
    if progress.ended is not None:
        return Status(progress.ended, progress, progress.last)
    if at_work or driver_at_work(out):
        return Status("running", progress, max(time.time(), progress.last))
    progress.ended = "killed"
    return Status(progress.ended, progress, progress.last)


def lock_path(out: Path) -> Path:
    """The file that a driver holds locked as long as it is at work in a folder of results."""
    return out / FOLDER / "lock"


def driver_at_work(out: Path) -> bool:
    """Whether a living driver holds the lock; a killed one has lost it."""
    try:
        return is_locked(lock_path(out))
    except OSError:  # no such file, or a file system without locks
        return False
