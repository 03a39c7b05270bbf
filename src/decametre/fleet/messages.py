"""What a worker pool reports to the driver: connected workers, and results of attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from decametre.fleet.worker import TaskRequest, TaskResult


@dataclass(frozen=True)
class WorkerInfo:
    """A worker, as the journal records it.

    Attributes:
        name: Its name in dask.
        host: Where it runs.
        threads: Number of its threads.
        memory: Bytes that its products may use.
        gpus: GPUs that torch finds there.
        slots: How many products it processes at a time.
    """

    name: str
    host: str
    threads: int
    memory: int
    gpus: int
    slots: int


@dataclass(frozen=True)
class WorkerSnapshot:
    """The state of the pool at one moment.

    Attributes:
        workers: The connected workers, by address.
        running: How many products are being processed.
    """

    workers: Mapping[str, WorkerInfo]
    running: int


@dataclass(frozen=True)
class AttemptResult:
    """The result of one attempt at a product.

    Attributes:
        request: What was requested.
        result: What came of it.
        final: Whether no other attempt follows.
    """

    request: TaskRequest
    result: TaskResult
    final: bool


def lost_result(request: TaskRequest, reason: str) -> TaskResult:
    """The result of a product whose workers died, which they cannot report themselves."""
    product = {"name": request.entry.name, "source": request.entry.source}
    unknown = dict.fromkeys(("worker", "host", "start", "end", "traceback"))
    failure = {"stages": {}, "warnings": [], "stage": "worker", "reason": reason}
    return TaskResult(True, product | {"attempt": request.attempt} | unknown | failure)
