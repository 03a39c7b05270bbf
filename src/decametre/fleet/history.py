"""What a fleet has done, from its journal over all runs: what report and plan are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from decametre.fleet.events import Event

OTHER = "other"
"""The time of a product that none of its stages accounts for."""

ROUNDING = 0.01
"""Seconds that the sum of a product's stages may lack by rounding alone."""

WAIT = "wait"
"""The stage in which a product waits for its turn on the device: no work is done in it."""


@dataclass(slots=True)
class RunRecord:
    """One run of a driver.

    Attributes:
        event: What began it.
        start: When.
        end: When the last was heard of it.
        status: How it ended; None if it did not, or was killed.
    """

    event: Event
    start: float
    end: float
    status: str | None = None


@dataclass(slots=True)
class Attempt:
    """A product in a worker, from beginning to end.

    Attributes:
        run: Number of the run.
        worker: Its address.
        start: When the worker began, by its clock.
        end: When it was finished.
        stages: Seconds of each stage in the order of the work; none where the attempt failed.
    """

    run: int
    worker: str
    start: float
    end: float
    stages: dict[str, float]


@dataclass(slots=True)
class CompletedProduct(Attempt):
    """A product that is done.

    Attributes:
        name: Its folder.
        item: Its STAC item, relative to the folder of results.
        device: Where it was computed.
        number: Which attempt it was.
        pixels: 10 m pixels.
        bytes_in: Size of the input; 0 where nothing told it.
        bytes_out: Size of the results.
        residuals: The consistency residual of each band in DN (RMSE).
        quicklook: Its picture, relative to the folder of results, or None.
    """

    name: str
    item: str
    device: str
    number: int
    pixels: int
    bytes_in: int
    bytes_out: int
    residuals: dict[str, float]
    quicklook: str | None


@dataclass(slots=True)
class Failure:
    """A product that failed for good.

    Attributes:
        name: The product.
        source: Where it comes from.
        stage: In which stage it failed last.
        reason: Why.
        attempts: How often it was tried.
    """

    name: str
    source: str
    stage: str
    reason: str
    attempts: int


@dataclass(slots=True)
class WorkerInterval:
    """A worker, as long as it was there.

    Attributes:
        run: Number of the run.
        worker: Its address, which no other worker of the run has.
        name: What the cluster calls it; one that was started again in its place is called so too.
        start: When it joined.
        end: When it left, or the run ended.
        threads: Its processor threads.
        gpus: Its GPUs.
    """

    run: int
    worker: str
    name: str
    start: float
    end: float
    threads: int
    gpus: int


@dataclass
class History:
    """All runs of a journal. `add` every event, then `close`.

    Some 2 kB for each product are held.

    Attributes:
        runs: The runs in order.
        completed: Products that were computed in all runs, in the order in which they ended.
        failed_attempts: Failed attempts whose times a worker reported.
        failures: Products that failed for good in the latest run.
        worker_intervals: When each worker was there.
    """

    runs: list[RunRecord] = field(default_factory=list)
    completed: list[CompletedProduct] = field(default_factory=list)
    failed_attempts: list[Attempt] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    worker_intervals: list[WorkerInterval] = field(default_factory=list)
    _there: dict[str, WorkerInterval] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Fold the next event in."""
        kind = event["event"]
        if kind == "run":
            self.close()
            self.runs.append(RunRecord(event, event["time"], event["time"]))
            self.failures.clear()
        self.runs[-1].end = event["time"]
        if kind == "worker":
            self._worker(event)
        elif kind == "done" and not event["already"]:
            self.completed.append(self._done(event))
        elif kind == "failed":
            self._failed(event)
        elif kind == "ended":
            self.runs[-1].status = event["status"]

    def close(self) -> None:
        """Workers that are still there were there until their run ended."""
        for stay in self._there.values():
            stay.end = self.runs[-1].end
        self._there.clear()

    @property
    def results(self) -> list[CompletedProduct]:
        """What stands now: of a product that was done again, the latest."""
        return list({one.name: one for one in self.completed}.values())

    @property
    def stages(self) -> list[str]:
        """All stages, in the order of the work."""
        return _merged({tuple(one.stages) for one in self.completed})

    def names(self) -> dict[tuple[int, str], str]:
        """What workers are called, by run and address."""
        return {(stay.run, stay.worker): stay.name for stay in self.worker_intervals}

    def _shared(self, text: str) -> str:
        """One string for all that are equal."""
        return self._names.setdefault(text, text)

    def _worker(self, event: Event) -> None:
        address = self._shared(event["worker"])
        if event["joined"]:
            stay = WorkerInterval(
                len(self.runs) - 1,
                address,
                self._shared(str(event["name"])),
                event["time"],
                event["time"],
                event["threads"],
                event["gpus"],
            )
            self.worker_intervals.append(stay)
            self._there[address] = stay
        elif address in self._there:
            self._there.pop(address).end = event["time"]

    def _done(self, event: Event) -> CompletedProduct:
        stages = {self._shared(name): float(value) for name, value in event["stages"].items()}
        rest = event["end"] - event["start"] - sum(stages.values())
        if rest > ROUNDING:
            stages[OTHER] = rest
        return CompletedProduct(
            run=len(self.runs) - 1,
            worker=self._shared(event["worker"]),
            start=event["start"],
            end=event["end"],
            stages=stages,
            name=event["name"],
            item=event["item"],
            device=self._shared(event["device"]),
            number=event["attempt"],
            pixels=event["pixels"],
            bytes_in=event["bytes_in"],
            bytes_out=event["bytes_out"],
            residuals=self._residuals(event["consistency"]),
            quicklook=event["quicklook"],
        )

    def _residuals(self, consistency: dict[str, Any]) -> dict[str, float]:
        """A band without a single valid pixel has no residual."""
        return {
            self._shared(band): float(found["rmse_dn"])
            for band, found in consistency.items()
            if found["rmse_dn"] is not None
        }

    def _failed(self, event: Event) -> None:
        if None not in (event["worker"], event["start"], event["end"]):
            self.failed_attempts.append(
                Attempt(
                    len(self.runs) - 1,
                    self._shared(event["worker"]),
                    event["start"],
                    event["end"],
                    {},
                )
            )
        if event["final"]:
            self.failures.append(
                Failure(
                    event["name"],
                    event["source"],
                    event["stage"],
                    event["reason"],
                    event["attempt"],
                )
            )


def _merged(orders: set[tuple[str, ...]]) -> list[str]:
    """Names of several lists in one, in the order of each as far as they agree; `OTHER` last."""
    merged: list[str] = []
    for names in sorted(orders, key=lambda names: (-len(names), names)):
        place = 0
        for name in names:
            if name in merged:
                place = merged.index(name) + 1
            else:
                merged.insert(place, name)
                place += 1
    return sorted(merged, key=lambda name: name == OTHER)
