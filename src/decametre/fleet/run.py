"""A run of a fleet: skips completed products, processes the others and records the results."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from decametre.errors import FleetError, OutputError
from decametre.files import check_parent, locked
from decametre.fleet.catalog import Catalog
from decametre.fleet.completion import ResultState, item_path, result_state
from decametre.fleet.engine import WorkerPool
from decametre.fleet.events import Journal, lock_path, open_journal, run_events
from decametre.fleet.inputs.product_entry import FOLDER, ProductEntry
from decametre.fleet.jobs import Work
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot
from decametre.fleet.progress import RunProgress
from decametre.fleet.worker import TaskRequest
from decametre.version import __version__

log = logging.getLogger(__name__)

FAILURES, LOG = "failures.jsonl", "fleet.log"

NO_WORKER_WARNING_SECONDS = 300.0
"""Seconds without a worker before a warning."""

DASK_PAUSE_FRACTION = 0.8
"""Used share of a worker's memory above which dask assigns it no more products."""

UNKNOWN_SIZE = float("inf")
"""Size assumed for a product of unknown size: a large product should start early."""

STATE_THREADS, STATES_PER_TASK = 16, 50
"""Threads that check for existing results, and products that each checks at a time. Each check
waits for the file system of the cluster, which handles many at a time."""

OpenPool = Callable[[int], AbstractContextManager[WorkerPool]]
"""Opens a worker pool for a number of products."""

ProgressCallback = Callable[[RunProgress], None]
"""Called after each event."""


@dataclass(frozen=True)
class FleetConfig:
    """The products of a run and how they are processed.

    Attributes:
        work: How each product is processed.
        entries: The products.
        out: The output folder; created if it does not exist.
        redo: Whether results with other settings are recomputed rather than an error.
        retries: Further attempts after a product failed.
        scratch: Folder on a fast disk of each worker for copies of the input, or None.
        interval: Seconds between two lines of `fleet.log`.
        command: The command line, for the journal.
    """

    work: Work
    entries: Sequence[ProductEntry]
    out: Path
    redo: bool
    retries: int
    scratch: Path | None
    interval: float
    command: str


@dataclass(frozen=True)
class FleetResult:
    """The outcome of a run.

    Attributes:
        done: Number of products completed in this run.
        done_before: Number of products that were complete before.
        failures: The entries of `failures.jsonl`: one for each product that failed.
    """

    done: int
    done_before: int
    failures: Sequence[dict[str, Any]]


def run(config: FleetConfig, open_pool: OpenPool, notify: ProgressCallback) -> FleetResult:
    """Process the products that are not complete.

    Args:
        config: The products and how they are processed.
        open_pool: Opens the worker pool; only called if there are products to process.
        notify: Called after each event.

    Raises:
        FleetError: Another fleet uses the output folder, it holds results of another verb or with
            other settings, or the scheduler was lost.
        OutputError: The folder cannot be written.
        DecametreError: The settings are invalid.
    """
    config.work.check()
    settings = json.loads(json.dumps(config.work.settings()))
    with _lock_folder(config.out):
        _check_verb(config)
        todo, complete = _split_by_completion(config, settings)
        catalog = Catalog(config.out, f"Sentinel-2 products: {config.work.verb}, by decametre")
        for name in catalog.prune({entry.name for entry in complete}):
            log.info("%s was deleted; removed from the catalog", name)
        catalog.add_all({entry.name: _item_href(entry) for entry in complete})
        todo.sort(key=lambda entry: -(UNKNOWN_SIZE if entry.size is None else entry.size))
        with open_recorder(config, catalog, notify) as recorder:
            return _process(config, settings, todo, len(complete), open_pool, recorder)


def _process(
    config: FleetConfig,
    settings: dict[str, Any],
    todo: Sequence[ProductEntry],
    done_before: int,
    open_pool: OpenPool,
    recorder: RunRecorder,
) -> FleetResult:
    """Process products in a worker pool, and record the end of the run."""
    state = "interrupted"
    try:
        if todo:
            with open_pool(len(todo)) as pool:
                recorder.start(settings, done_before, pool.description, pool.dashboard)
                requests = (
                    TaskRequest(
                        work=config.work,
                        settings=settings,
                        version=__version__,
                        entry=entry,
                        out=str(config.out),
                        scratch=None if config.scratch is None else str(config.scratch),
                        attempt=1,
                    )
                    for entry in todo
                )
                for message in pool.perform(requests, config.retries):
                    if isinstance(message, AttemptResult):
                        recorder.add_result(message)
                    else:
                        recorder.add_snapshot(message)
        else:
            recorder.start(settings, done_before, "no workers: all products are complete", None)
        state = "failures" if recorder.failures else "complete"
    except FleetError:
        state = "lost"
        raise
    finally:
        recorder.end(state)
    return FleetResult(recorder.done, done_before, recorder.failures)


class RunRecorder:
    """Records a run in the journal, the catalog, the list of failures and the log.

    All methods raise OutputError if one of these files cannot be written.

    Args:
        config: The run's configuration.
        catalog: Catalog of the results.
        notify: Called after each event.
        journal: The open journal.
        log_file: The open `fleet.log`.
    """

    def __init__(
        self,
        config: FleetConfig,
        catalog: Catalog,
        notify: ProgressCallback,
        journal: Journal,
        log_file: IO[str],
    ) -> None:
        self._config, self._catalog, self._notify = config, catalog, notify
        self._journal, self._log_file = journal, log_file
        self._progress: RunProgress | None = None
        self._workers: dict[str, WorkerInfo] = {}
        self._next_line = 0.0
        self._no_worker_since: float | None = time.monotonic()
        self.done = 0
        self.failures: list[dict[str, Any]] = []

    def start(
        self, settings: dict[str, Any], done_before: int, cluster: str, dashboard: str | None
    ) -> None:
        """Record that the run starts."""
        config = self._config
        with _journal_errors(config.out):
            (config.out / FAILURES).write_text("")
        self._record(
            "run",
            verb=config.work.verb,
            command=config.command,
            version=__version__,
            settings=settings,
            products=len(config.entries),
            done_before=done_before,
            cluster=cluster,
            dashboard=dashboard,
        )
        self._log_line(f"{config.command}: {cluster}" + (f", {dashboard}" if dashboard else ""))

    def add_snapshot(self, snapshot: WorkerSnapshot) -> None:
        """Record the workers that joined or left, and at intervals a line in the log."""
        joined = snapshot.workers.keys() - self._workers.keys()
        left = self._workers.keys() - snapshot.workers.keys()
        for address in sorted(joined | left):
            worker = (snapshot.workers if address in joined else self._workers)[address]
            self._record(
                "worker",
                worker=address,
                joined=address in joined,
                name=worker.name,
                host=worker.host,
                threads=worker.threads,
                memory=worker.memory,
                gpus=worker.gpus,
            )
            if address in joined:
                self._check_memory(worker)
        self._workers = dict(snapshot.workers)
        self._check_workers_present()
        now = time.monotonic()
        if joined or left or now >= self._next_line:
            self._record("beat", running=snapshot.running)
        if now >= self._next_line and self._progress is not None:
            self._next_line = now + self._config.interval
            self._log_line(self._progress.line())

    def _check_memory(self, worker: WorkerInfo) -> None:
        """Warn if a worker cannot process even a small product."""
        needed = self._config.work.memory(0)
        if DASK_PAUSE_FRACTION * worker.memory < needed:
            log.warning(
                "worker %s on %s has %.1f GB of memory, but a small product needs %.1f GB and dask "
                "pauses a worker at %.0f %% of its memory; give workers more memory",
                worker.name,
                worker.host,
                worker.memory / 1e9,
                needed / 1e9,
                100 * DASK_PAUSE_FRACTION,
            )

    def _check_workers_present(self) -> None:
        """Warn once after some minutes without any worker."""
        if self._workers:
            self._no_worker_since = None
        elif self._no_worker_since is None:
            self._no_worker_since = time.monotonic()
        elif time.monotonic() - self._no_worker_since > NO_WORKER_WARNING_SECONDS:
            self._no_worker_since = float("inf")  # no second warning
            log.warning(
                "no worker for %.0f minutes: jobs wait in the queue, or end before they connect to "
                "this machine; see the logs in %s",
                NO_WORKER_WARNING_SECONDS / 60,
                self._config.out / FOLDER / "logs",
            )

    def add_result(self, result: AttemptResult) -> None:
        """Record the result of an attempt."""
        request, fields = result.request, result.result.fields
        for warning in fields["warnings"]:
            log.warning("%s: %s", request.entry.name, warning)
        if not result.result.failed:
            self._catalog.add(request.entry.name, _item_href(request.entry))
            self.done += 1
            self._record("done", **fields)
            return
        if result.final:
            self.failures.append(fields)
            with (
                _journal_errors(self._config.out),
                (self._config.out / FAILURES).open("a", encoding="utf-8") as file,
            ):
                file.write(json.dumps(fields) + "\n")
        self._record("failed", **fields, final=result.final)
        log.warning(
            "%s: attempt %d failed in stage %s: %s",
            request.entry.name,
            request.attempt,
            fields["stage"],
            fields["reason"],
        )

    def end(self, state: str) -> None:
        """Record the end of the run, if it started."""
        if self._progress is not None:
            self._record("ended", status=state)
            self._log_line(self._progress.line())

    def _record(self, kind: str, **fields: Any) -> None:
        with _journal_errors(self._config.out):
            event = self._journal.write(kind, **fields)
        if self._progress is None:
            self._progress = RunProgress(event)
        else:
            self._progress.add(event)
        self._notify(self._progress)

    def _log_line(self, line: str) -> None:
        with _journal_errors(self._config.out):
            self._log_file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")
            self._log_file.flush()


@contextmanager
def open_recorder(
    config: FleetConfig, catalog: Catalog, notify: ProgressCallback
) -> Iterator[RunRecorder]:
    """Open the files of a run's recorder; see `RunRecorder`.

    Raises:
        OutputError: One of the files cannot be written.
    """
    with ExitStack() as files:
        with _journal_errors(config.out):
            journal = files.enter_context(open_journal(config.out))
            log_file = files.enter_context((config.out / LOG).open("a", encoding="utf-8"))
        try:
            yield RunRecorder(config, catalog, notify, journal, log_file)
        finally:
            with _journal_errors(config.out):  # closing a file writes its buffer
                files.close()


@contextmanager
def _journal_errors(out: Path) -> Iterator[None]:
    """Turn an OSError of the run's own files into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{out}: the journal cannot be written ({error.strerror or error}); resolve that, and "
            "resume by the same command"
        ) from error


def _check_verb(config: FleetConfig) -> None:
    """Check that the folder holds no results of another verb.

    Raises:
        FleetError: It does.
    """
    verb = next(run_events(config.out), {}).get("verb", config.work.verb)
    if verb != config.work.verb:
        raise FleetError(
            f"{config.out}: holds the results of `fleet {verb}`; give `fleet {config.work.verb}` a "
            "separate folder"
        )


def _split_by_completion(
    config: FleetConfig, settings: dict[str, Any]
) -> tuple[list[ProductEntry], list[ProductEntry]]:
    """The products to process, and those that are complete.

    Raises:
        FleetError: Results with other settings exist, and are not to be recomputed.
    """
    todo, complete = [], []
    different: list[tuple[ProductEntry, str]] = []
    for entry, state in zip(config.entries, _result_states(config, settings), strict=True):
        if state.complete:
            complete.append(entry)
            continue
        todo.append(entry)
        if state.difference is not None:
            different.append((entry, state.difference))
    if different and not config.redo:
        entry, difference = different[0]
        raise FleetError(
            f"{item_path(config.out, entry)}: {difference}; {len(different)} of "
            f"{len(config.entries)} products have other results there; use --redo to recompute "
            "them, or another folder"
        )
    return todo, complete


def _result_states(config: FleetConfig, settings: dict[str, Any]) -> Iterator[ResultState]:
    """The state of each product's result, in the order of the products."""
    entries = config.entries
    parts = [entries[at : at + STATES_PER_TASK] for at in range(0, len(entries), STATES_PER_TASK)]
    pool = ThreadPoolExecutor(STATE_THREADS)
    try:
        for states in pool.map(lambda p: [result_state(config.out, e, settings) for e in p], parts):
            yield from states
    finally:
        pool.shutdown(cancel_futures=True)


def _item_href(entry: ProductEntry) -> str:
    """Path of a product's STAC item in the output folder."""
    return f"{entry.name}/{entry.name}.json"


@contextmanager
def _lock_folder(out: Path) -> Iterator[None]:
    """Lock the output folder for this process; it is created if it does not exist.

    Raises:
        BusyError: Another fleet is running there.
        OutputError: The folder cannot be created or written.
    """
    check_parent(out)
    path = lock_path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error})") from error
    # `fleet status` holds the lock for a moment.
    with locked(path, out, timeout=0.5):
        yield
