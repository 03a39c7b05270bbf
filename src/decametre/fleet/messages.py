"""What a crew of workers tells the driver: who is there, and what came of each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from decametre.fleet.worker import TaskRequest, TaskResult


@dataclass(frozen=True)
class WorkerInfo:
    """A worker, as the journal has it.

    Attributes:
        name: What dask calls it.
        host: Where it runs.
        threads: Of its own.
        memory: Bytes that its products may take.
        gpus: GPUs that torch sees there.
        slots: Products that it takes at a time.
    """

    name: str
    host: str
    threads: int
    memory: int
    gpus: int
    slots: int


@dataclass(frozen=True)
class WorkerSnapshot:
    """What is to be seen at a moment.

    Attributes:
        workers: Who is there, by address.
        running: How many products are at work.
    """

    workers: Mapping[str, WorkerInfo]
    running: int


@dataclass(frozen=True)
class AttemptResult:
    """What came of one attempt at a product.

    Attributes:
        request: The request.
        result: Its result.
        final: No other attempt follows.
    """

    request: TaskRequest
    result: TaskResult
    final: bool


def lost(order: TaskRequest, reason: str) -> TaskResult:
    """What the journal says of a product whose workers cannot say it themselves."""
    fields = {"name": order.entry.name, "source": order.entry.source, "attempt": order.attempt}
    nobody = dict.fromkeys(("worker", "host", "start", "end", "traceback"))
    known = {"stages": {}, "warnings": [], "stage": "worker", "reason": reason}
    return TaskResult(True, fields | nobody | known)
