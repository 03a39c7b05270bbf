"""One product in a worker: done, found done, or failed with stage and reason. It never raises."""

from __future__ import annotations

import logging
import platform
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.errors import BusyError, CorruptDataError, DecametreError, FleetError, OutputError
from decametre.fleet import preload
from decametre.fleet.completion import result_state
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import ProductSummary, Work
from decametre.fleet.scratch import scratch_folder
from decametre.version import __version__

BUSY_TIMEOUT, BUSY_POLL_INTERVAL = 120.0, 1.0
"""Seconds to wait for another worker that has the same product, and between two looks."""

_computing = threading.Lock()
"""Whoever holds it computes; the worker's other product is read ahead, or written."""


@dataclass(frozen=True)
class TaskRequest:
    """What a worker is told to do.

    Attributes:
        work: What is done.
        settings: `work.settings()` where the fleet was started.
        version: Of decametre there.
        entry: The product.
        out: The folder of results.
        scratch: Folder of a fast disk for copies of the input, or None.
        attempt: Counted from 1.
    """

    work: Work
    settings: dict[str, Any]
    version: str
    entry: ProductEntry
    out: str
    scratch: str | None
    attempt: int


@dataclass(frozen=True)
class TaskResult:
    """What came of an order.

    Attributes:
        failed: Whether the product is not done.
        fields: Of the event `done` or `failed`, as the journal has them.
    """

    failed: bool
    fields: dict[str, Any]


class Clock:
    """Seconds by stage; the `Stages` of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage = "open"
        self._since = time.monotonic()

    def enter(self, stage: str) -> None:
        """From now on it is this stage."""
        now = time.monotonic()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self._since
        self.stage, self._since = stage, now

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Surround a stage; `compute` waits for its turn.

        Between stages a product is read at first, and after computing written.
        """
        if name == "compute":
            self.enter("wait")
            with _computing:
                self.enter(name)
                yield
        else:
            self.enter(name)
            yield
        self.enter("read" if name in ("open", "stage_in") else "write")


def run_task(order: TaskRequest) -> TaskResult:
    """Do one product."""
    clock, start = Clock(), time.time()
    entry, output = order.entry, _output(order)
    where = preload.here
    fields: dict[str, Any] = {
        "name": entry.name,
        "source": entry.source,
        "worker": where.address if where else None,
        "host": platform.node(),
        "attempt": order.attempt,
        "start": round(start, 3),
    }
    told: dict[str, Any] = {}
    reason: str | None = None
    trace: str | None = None
    with _warnings() as warnings:
        try:
            made = _compute_product(order, output, clock, where.threads if where else 1)
            told = _journal_fields(order, output, made)
        except DecametreError as error:
            reason = str(error)
            if isinstance(error, CorruptDataError) and clock.stage == "compute":
                clock.enter("read")  # windows are read while others are computed
            elif isinstance(error, OutputError):
                clock.enter("write")
        except Exception as error:  # one product must not end a thousand
            reason, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
    stage = clock.stage
    clock.enter("")
    fields |= {
        "end": round(time.time(), 3),
        "stages": {name: round(seconds, 3) for name, seconds in clock.seconds.items()},
        "warnings": list(warnings),
    }
    if reason is not None:
        _remove_if_empty(output.parent)
        return TaskResult(True, fields | {"stage": stage, "reason": reason, "traceback": trace})
    return TaskResult(False, fields | told)


def _output(order: TaskRequest) -> Path:
    return Path(order.out) / order.entry.name / f"{order.entry.name}{order.work.suffix}"


def _compute_product(
    order: TaskRequest, output: Path, clock: Clock, threads: int
) -> ProductSummary | None:
    """The result; None where it stands already, made by a worker that was lost before it told.

    A worker that dask gave up may still be at work, as at the end of its job: then this one waits.
    """
    if order.version != __version__:
        raise FleetError(
            f"the worker has version {__version__}, the fleet {order.version}; install the same"
        )
    if (here := order.work.settings()) != order.settings:
        asked = order.settings
        differs = [key for key in asked | here if asked.get(key) != here.get(key)]
        raise FleetError(
            f"the worker has other {', '.join(differs)} than where the fleet was started; give "
            "paths that lead to the same files everywhere"
        )
    import torch

    torch.set_num_threads(threads)  # holds for the thread that asks
    give_up = time.monotonic() + BUSY_TIMEOUT
    while not result_state(Path(order.out), order.entry, order.settings).complete:
        try:
            output.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{output.parent}: cannot be made ({error.strerror})") from error
        try:
            with scratch_folder(order.scratch) as folder:
                return order.work.do(order.entry.source, output, clock, folder)
        except BusyError:
            if time.monotonic() > give_up:
                raise
            clock.enter("wait")
            time.sleep(BUSY_POLL_INTERVAL)
    return None


def _journal_fields(
    order: TaskRequest, output: Path, made: ProductSummary | None
) -> dict[str, Any]:
    """What the journal says of a product that is done."""
    out = Path(order.out)
    fields: dict[str, Any] = {
        "item": str(output.with_suffix(".json").relative_to(out)),
        "already": made is None,
    }
    if made is not None:
        picture = made.picture
        fields |= {
            "device": made.device,
            "pixels": made.pixels,
            "bytes_in": order.entry.size or 0,
            "bytes_out": sum(path.stat().st_size for path in output.parent.iterdir()),
            "consistency": dict(made.consistency),
            "quicklook": str(picture.relative_to(out)) if picture else None,
        }
    return fields


def _remove_if_empty(folder: Path) -> None:
    """Remove a product's folder where nothing is in it."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Warnings that decametre logs in this thread."""
    heard: list[str] = []
    mine = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == mine:
                heard.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logger = logging.getLogger("decametre")
    logger.addHandler(listener)
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
