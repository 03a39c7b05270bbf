"""Process one product on a worker: completed, found completed, or failed with stage and reason."""

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

from decametre.errors import (
    BusyError,
    CorruptDataError,
    DecametreError,
    FleetError,
    GridError,
    InvalidPathError,
    MissingBandError,
    NotAProductError,
    OutputError,
    RadiometryError,
)
from decametre.fleet import preload
from decametre.fleet.completion import result_state
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import ProductSummary, Work
from decametre.fleet.scratch import scratch_folder
from decametre.version import __version__

BUSY_TIMEOUT, BUSY_POLL_INTERVAL = 120.0, 1.0
"""Seconds to wait for another worker that processes the same product, and between two checks."""

_computing = threading.Lock()
"""Held by the product that computes; meanwhile the worker's other product is read or written."""


@dataclass(frozen=True)
class TaskRequest:
    """One product to process.

    Attributes:
        work: How to process it.
        settings: `work.settings()` where the fleet was started.
        version: Version of decametre there.
        entry: The product.
        out: The folder of results.
        scratch: Folder on a fast disk for copies of the input; None to read it in place.
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
    """The result of a request.

    Attributes:
        failed: Whether the product failed.
        fields: Fields of the event `done` or `failed` in the journal.
        permanent: Whether another attempt would fail in the same way.
        retry_after: Seconds after which a busy server accepts requests, if it stated them.
    """

    failed: bool
    fields: dict[str, Any]
    permanent: bool = False
    retry_after: float | None = None


class Clock:
    """Measures the seconds of each stage; the `Stages` of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage = "open"
        self._since = time.monotonic()

    def enter(self, stage: str) -> None:
        """Start a stage; it ends when the next one starts."""
        now = time.monotonic()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self._since
        self.stage, self._since = stage, now

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the stage of a block; `compute` waits until no other product computes.

        After the block, time counts as reading before `compute`, and as writing after it.
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


def run_task(request: TaskRequest) -> TaskResult:
    """Process one product. All errors end up in the result; none is raised."""
    clock, start = Clock(), time.time()
    entry, output = request.entry, _output(request)
    here = preload.here
    fields: dict[str, Any] = {
        "name": entry.name,
        "source": entry.source,
        "worker": here.address if here else None,
        "host": platform.node(),
        "attempt": request.attempt,
        "start": round(start, 3),
    }
    completed: dict[str, Any] = {}
    reason: str | None = None
    trace: str | None = None
    permanent, retry_after = False, None
    with _captured_warnings() as warnings:
        try:
            summary = _compute_product(request, output, clock, here.threads if here else 1)
            completed = _journal_fields(request, output, summary)
        except DecametreError as error:
            reason, permanent = str(error), is_permanent(error)
            retry_after = error.retry_after
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
        fields |= {"stage": stage, "reason": reason, "traceback": trace}
        return TaskResult(True, fields, permanent, retry_after)
    return TaskResult(False, fields | completed)


def is_permanent(error: DecametreError) -> bool:
    """Whether a product fails in every attempt: it is none, is damaged, or lacks a file or a band.

    Servers, disks and networks may recover.
    """
    if error.transient or isinstance(error.__cause__, OSError):
        return False
    kinds = (NotAProductError, MissingBandError, CorruptDataError, GridError, RadiometryError)
    return isinstance(error, (*kinds, InvalidPathError))


def _output(request: TaskRequest) -> Path:
    return Path(request.out) / request.entry.name / f"{request.entry.name}{request.work.suffix}"


def _compute_product(
    request: TaskRequest, output: Path, clock: Clock, threads: int
) -> ProductSummary | None:
    """Process the product; None if its result exists, written by a worker that died afterwards.

    A worker that dask considers lost may still be running, for example at the end of its job. Then
    this one waits for it.
    """
    if request.version != __version__:
        raise FleetError(
            f"the worker has version {__version__}, the fleet {request.version}; "
            "install the same version"
        )
    if (own := request.work.settings()) != request.settings:
        given = request.settings
        differs = ", ".join(key for key in given | own if given.get(key) != own.get(key))
        raise FleetError(
            f"the worker's {differs} differs from where the fleet was started; use paths that lead "
            "to the same files on all machines"
        )
    import torch

    torch.set_num_threads(threads)  # applies to the calling thread only
    deadline = time.monotonic() + BUSY_TIMEOUT
    while not result_state(Path(request.out), request.entry, request.settings).complete:
        try:
            output.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{output.parent}: cannot create the folder ({error.strerror})"
            ) from error
        try:
            with scratch_folder(request.scratch) as folder:
                return request.work.do(request.entry.source, output, clock, folder)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            clock.enter("wait")
            time.sleep(BUSY_POLL_INTERVAL)
    return None


def _journal_fields(
    request: TaskRequest, output: Path, summary: ProductSummary | None
) -> dict[str, Any]:
    """The journal's fields of a completed product."""
    out = Path(request.out)
    fields: dict[str, Any] = {
        "item": str(output.with_suffix(".json").relative_to(out)),
        "already": summary is None,
    }
    if summary is not None:
        picture = summary.picture
        fields |= {
            "device": summary.device,
            "pixels": summary.pixels,
            "bytes_in": request.entry.size or 0,
            "bytes_out": sum(path.stat().st_size for path in output.parent.iterdir()),
            "consistency": dict(summary.consistency),
            "quicklook": str(picture.relative_to(out)) if picture else None,
        }
    return fields


def _remove_if_empty(folder: Path) -> None:
    """Remove a product's folder if it is empty."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _captured_warnings() -> Iterator[list[str]]:
    """Collect the warnings that decametre logs in this thread."""
    messages: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                messages.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logger = logging.getLogger("decametre")
    logger.addHandler(listener)
    try:
        yield messages
    finally:
        logger.removeHandler(listener)
