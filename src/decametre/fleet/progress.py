"""The progress of one run: its events summed up as counts, rates and the remaining time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from decametre.fleet.events import Event
from decametre.fleet.formatting import amount, digits, duration
from decametre.fleet.records import Attempt, CompletedProduct, Failure, WorkerInterval

RECENT_SECONDS = 900.0
"""Period of the recent rates."""

MIN_RECENT_PRODUCTS = 10
"""Recent products that are needed to estimate the remaining time from the recent rate."""

FAILURES_LISTED = 3
"""Failed products of each stage that a status names."""

STATES = {
    "running": "running",
    "complete": "complete",
    "failures": "ended; some products failed",
    "interrupted": "interrupted; the same command resumes it",
    "lost": "ended because the scheduler stopped; the same command resumes it",
    "killed": "killed; the same command resumes it",
}
"""The states of a run and their descriptions."""


@dataclass(frozen=True)
class Rates:
    """The products computed within a period.

    Attributes:
        seconds: Length of the period.
        products: Products computed in it.
        bytes_in: Bytes read for them.
        bytes_out: Bytes written for them.
    """

    seconds: float
    products: int
    bytes_in: int
    bytes_out: int

    @property
    def per_hour(self) -> float:
        """Products per hour."""
        return self._per_second(self.products) * 3600

    @property
    def read(self) -> float:
        """Bytes read per second."""
        return self._per_second(self.bytes_in)

    @property
    def written(self) -> float:
        """Bytes written per second."""
        return self._per_second(self.bytes_out)

    def _per_second(self, number: float) -> float:
        return number / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, float]:
        """JSON form."""
        return {
            "seconds": round(self.seconds, 3),
            "products": self.products,
            "products_per_hour": round(self.per_hour, 3),
            "bytes_in_per_second": round(self.read, 1),
            "bytes_out_per_second": round(self.written, 1),
        }


class RunProgress:
    """The progress of one run, updated by its events.

    Products are counted and then forgotten unless they are kept, so that the memory that a run
    takes does not grow with their number.

    Args:
        event: The event `run` that starts the run.
        number: Number of the run in the journal, from 0.
        keep_products: Whether to keep `completed` and `failed_attempts`.
        clock: Returns the current time in seconds since 1970.

    Attributes:
        run: The event `run`.
        done: Completed products, including those of earlier runs.
        computed: Products that this run computed. A worker may also find a complete result of
            a lost worker.
        bytes_in: Bytes read for the computed products.
        bytes_out: Bytes written for them.
        repeated: Failed attempts that another attempt followed or will follow.
        failures: Products that failed in all attempts.
        workers: All workers of the run, by address.
        completed: The computed products, if they are kept.
        failed_attempts: The failed attempts whose times are known, if they are kept.
        ended: The state in which the run ended; None if it has not.
        last: Time of the latest event.
    """

    def __init__(
        self,
        event: Event,
        number: int = 0,
        keep_products: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run, self.number = event, number
        self._keep_products, self._clock = keep_products, clock
        self.last: float = event["time"]
        self.done = self.done_before
        self.computed = self.bytes_in = self.bytes_out = self.repeated = 0
        self.failures: list[Failure] = []
        self.workers: dict[str, WorkerInterval] = {}
        self.completed: list[CompletedProduct] = []
        self.failed_attempts: list[Attempt] = []
        self.ended: str | None = None
        self._reported_running: int | None = None
        self._recent: deque[tuple[float, int, int]] = deque()  # time, bytes in, bytes out

    @property
    def all(self) -> int:
        """Products of the list."""
        return int(self.run["products"])

    @property
    def done_before(self) -> int:
        """Products that were complete when the run started."""
        return int(self.run["done_before"])

    @property
    def failed(self) -> int:
        """Number of products that failed in all attempts."""
        return len(self.failures)

    @property
    def left(self) -> int:
        """Products that are neither completed nor failed, including those being processed."""
        return max(0, self.all - self.done - self.failed)

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return self.ended or "running"

    @property
    def present_workers(self) -> list[WorkerInterval]:
        """The workers that have not left; none once the run has ended."""
        if self.ended is not None:
            return []
        return [worker for worker in self.workers.values() if worker.end == math.inf]

    @property
    def running(self) -> int | None:
        """Products being processed; None if that is unknown.

        The driver reports the number regularly. In between, each completed product is followed by
        another one while any is left. The number is unknown after a worker joined or left, and
        before the driver has submitted the first products.
        """
        if not self.present_workers or not self.left:
            return 0
        return min(self._reported_running, self.left) if self._reported_running else None

    def add(self, event: Event) -> None:
        """Update the progress by the run's next event."""
        self.last = event["time"]
        match event["event"]:
            case "worker":
                self._add_worker(event)
            case "done":
                self._add_done(event)
            case "failed":
                self._add_failed(event)
            case "beat":
                self._reported_running = event["running"]
            case "ended":
                self.ended = event["status"]

    def _add_worker(self, event: Event) -> None:
        self._reported_running = None
        address = event["worker"]
        if event["joined"]:
            self.workers[address] = WorkerInterval.of(self.number, event)
        elif address in self.workers:
            self.workers[address].end = event["time"]

    def _add_done(self, event: Event) -> None:
        self.done += 1
        if event["already"]:
            return
        self.computed += 1
        self.bytes_in += event["bytes_in"]
        self.bytes_out += event["bytes_out"]
        self._recent.append((event["time"], event["bytes_in"], event["bytes_out"]))
        while self._recent[0][0] < event["time"] - RECENT_SECONDS:
            self._recent.popleft()
        if self._keep_products:
            self.completed.append(CompletedProduct.of(self.number, event))

    def _add_failed(self, event: Event) -> None:
        if event["final"]:
            self.failures.append(Failure.of(event))
        else:
            self.repeated += 1
        place_and_times = event["worker"], event["start"], event["end"]
        if self._keep_products and None not in place_and_times:
            self.failed_attempts.append(Attempt(self.number, *place_and_times, stages={}))

    @property
    def now(self) -> float:
        """The current time; that of the latest event if the run has ended."""
        return self.last if self.ended is not None else max(self._clock(), self.last)

    @property
    def elapsed(self) -> float:
        """Seconds since the run started."""
        return max(0.0, self.now - float(self.run["time"]))

    @property
    def rates(self) -> Rates:
        """Since the first worker joined: before that, its job may have waited in a queue."""
        joined = (worker.start for worker in self.workers.values())
        seconds = max(0.0, self.now - min(joined, default=float(self.run["time"])))
        return Rates(seconds, self.computed, self.bytes_in, self.bytes_out)

    @property
    def recent_rates(self) -> Rates:
        """Over the last `RECENT_SECONDS` seconds, or over the complete run if it is younger."""
        since = self.now - RECENT_SECONDS
        recent = [one for one in self._recent if one[0] > since]
        return Rates(
            min(RECENT_SECONDS, self.rates.seconds),
            len(recent),
            sum(bytes_in for _, bytes_in, _ in recent),
            sum(bytes_out for _, _, bytes_out in recent),
        )

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time, by the recent rate or, with few recent products, the mean rate.

        Large products are processed first, so this is usually too long rather than too short.

        Returns:
            None if the run has ended, has no worker, or no rate is known yet.
        """
        if self.ended is not None or (self.left and not self.present_workers):
            return None
        if not self.left:
            return 0.0
        recent = self.recent_rates
        per_hour = (recent if recent.products >= MIN_RECENT_PRODUCTS else self.rates).per_hour
        return self.left / per_hour * 3600 if per_hour else None

    def counts(self) -> str:
        """The numbers of products as text."""
        before = f" ({self.done_before:,} before)" if self.done_before else ""
        parts = [f"{self.done:,} of {self.all:,} completed{before}", f"{self.failed:,} failed"]
        if self.running is not None:
            parts.append(f"{self.running:,} running")
        return ", ".join([*parts, f"{self.left:,} left"])

    def line(self) -> str:
        """One line for a log or a terminal."""
        rates, recent, left = self.rates, self.recent_rates, self.seconds_left
        per_hour = f"{digits(rates.per_hour)} products/h"
        if self.ended is not None:
            parts = [self.counts(), per_hour, _transfer(rates)]
        else:
            workers = len(self.present_workers)
            parts = [
                self.counts(),
                f"{per_hour}, recently {digits(recent.per_hour)}",
                _transfer(recent),
                f"{workers} worker{'' if workers == 1 else 's'}",
            ]
        if left is not None:
            parts.append(f"{duration(left)} left")
        return "; ".join(parts)

    def failures_by_stage(self) -> dict[str, list[Failure]]:
        """The failures of each stage."""
        stages: dict[str, list[Failure]] = {}
        for failure in self.failures:
            stages.setdefault(failure.stage, []).append(failure)
        return stages

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as `fleet status --json` prints it."""
        worker_keys = ("name", "host", "threads", "gpus", "memory")
        workers = {one.address: asdict(one) for one in self.present_workers}
        return {
            "state": self.state,
            **{key: self.run[key] for key in ("verb", "command", "version", "cluster")},
            "dashboard": self.run["dashboard"],
            "started": self.run["time"],
            "last_event": self.last,
            "elapsed": round(self.elapsed, 3),
            "products": {
                key: getattr(self, key)
                for key in ("all", "done", "done_before", "failed", "running", "left")
            },
            "attempts_repeated": self.repeated,
            "rates": self.rates.to_dict(),
            "recent_rates": self.recent_rates.to_dict(),
            "seconds_left": self.seconds_left,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "workers": {
                address: {key: worker[key] for key in worker_keys}
                for address, worker in workers.items()
            },
            "failures": {
                stage: {
                    "count": len(failures),
                    "first": [
                        {"name": failure.name, "reason": failure.reason}
                        for failure in failures[:FAILURES_LISTED]
                    ],
                }
                for stage, failures in self.failures_by_stage().items()
            },
        }


ProgressCallback = Callable[[RunProgress], None]
"""Called with the progress after each event."""


def _transfer(rates: Rates) -> str:
    return f"in {amount(rates.read, 'B/s')}, out {amount(rates.written, 'B/s')}"
