"""A whole fleet: leaves out what is done, has the rest done, and writes down what comes of it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from decametre.errors import FleetError, OutputError
from decametre.files import check_parent, locked
from decametre.fleet.catalog import Catalog
from decametre.fleet.completion import ResultState, item_path, result_state
from decametre.fleet.engine import WorkerPool
from decametre.fleet.events import Journal, read_events
from decametre.fleet.inputs.product_entry import FOLDER, ProductEntry
from decametre.fleet.jobs import Work
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot
from decametre.fleet.progress import RunProgress, lock_path
from decametre.fleet.worker import TaskRequest
from decametre.version import __version__

log = logging.getLogger(__name__)

FAILURES, LOG = "failures.jsonl", "fleet.log"

NO_WORKER_WARNING_SECONDS = 300.0
"""Seconds without a worker after which that is said."""

DASK_PAUSE_FRACTION = 0.8
"""Share of its memory at which dask hands a worker nothing more."""

UNKNOWN_SIZE = float("inf")
"""Bytes of a product of unknown size, for the order of work: late is worse than early."""

STATE_THREADS, STATES_PER_TASK = 16, 50
"""Threads that look for results, and how many each looks for at a time: on a cluster's file system
a look takes as long as many together."""

OpenPool = Callable[[int], AbstractContextManager[WorkerPool]]
"""Brings workers together for so many products."""

ProgressCallback = Callable[[RunProgress], None]
"""Called after every event."""


@dataclass(frozen=True)
class FleetConfig:
    """What a fleet is to do.

    Attributes:
        work: What is done with each product.
        entries: The products.
        out: The folder of results; made where it is not there.
        redo: Make results of other settings again; they are refused without.
        retries: Attempts that may follow a first one that failed.
        scratch: Folder of a fast disk, on every worker, for copies of the input; or None.
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
    """What a fleet came to.

    Attributes:
        done: Products that were done in this run.
        done_before: Products that were done already.
        failures: Of each product that failed for good, what `failures.jsonl` says.
    """

    done: int
    done_before: int
    failures: Sequence[dict[str, Any]]


def run(config: FleetConfig, gather: OpenPool, notify: ProgressCallback) -> FleetResult:
    """Do what a config says.

    Args:
        config: What.
        gather: Brings the workers together; called only if there is something to do.
        notify: Called after every event.

    Raises:
        FleetError: Another fleet is at work in the folder, results of another verb or of other
            settings stand there, or the scheduler is gone.
        OutputError: The folder cannot be written.
        DecametreError: The settings make no sense.
    """
    config.work.check()
    settings = json.loads(json.dumps(config.work.settings()))
    with _locked(config.out):
        _refuse_results_of_another_verb(config)
        todo, done = _survey(config, settings)
        catalog = Catalog(config.out, f"Sentinel-2 products: {config.work.verb}, by decametre")
        for name in catalog.prune({entry.name for entry in done}):
            log.info("%s is gone, and no longer in the catalog", name)
        catalog.add_all({entry.name: _href(entry) for entry in done})
        todo.sort(key=lambda entry: -(UNKNOWN_SIZE if entry.size is None else entry.size))
        with RunRecorder(config, catalog, notify) as record:
            return _work(config, settings, todo, len(done), gather, record)


def _work(
    config: FleetConfig,
    settings: dict[str, Any],
    todo: Sequence[ProductEntry],
    done_before: int,
    gather: OpenPool,
    record: RunRecorder,
) -> FleetResult:
    """Have the rest done, and write down how it ended."""
    ended = "interrupted"
    try:
        if todo:
            with gather(len(todo)) as here:
                record.begin(settings, done_before, here.description, here.dashboard)
                orders = (
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
                for news in here.perform(orders, config.retries):
                    if isinstance(news, AttemptResult):
                        record.answer(news)
                    else:
                        record.look(news)
        else:
            record.begin(settings, done_before, "no workers: all is done", None)
        ended = "failures" if record.failures else "complete"
    except FleetError:
        ended = "lost"
        raise
    finally:
        record.end(ended)
    return FleetResult(record.done, done_before, record.failures)


class RunRecorder:
    """Writes down what happens: journal, catalog, failures and log; a context manager.

    Args:
        config: What is done.
        catalog: Of the results.
        notify: Called after every event.

    Raises:
        OutputError: One of them cannot be written.
    """

    def __init__(self, config: FleetConfig, catalog: Catalog, notify: ProgressCallback) -> None:
        self._config, self._catalog, self._notify = config, catalog, notify
        self._journal, self._progress = Journal(config.out), RunProgress()
        self._workers: dict[str, WorkerInfo] = {}
        self._failures: IO[str] | None = None
        self._next_line = 0.0
        self._lonely_since: float | None = time.monotonic()
        self.done = 0
        self.failures: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        out = self._config.out
        with self._writing(), ExitStack() as files:
            files.enter_context(self._journal)
            self._log = files.enter_context((out / LOG).open("a", encoding="utf-8"))
            self._files = files.pop_all()
        return self

    def begin(
        self, settings: dict[str, Any], done_before: int, cluster: str, dashboard: str | None
    ) -> None:
        """The workers have been asked for."""
        with self._writing():
            failures = (self._config.out / FAILURES).open("w", encoding="utf-8")
            self._failures = self._files.enter_context(failures)
        self._tell(
            "run",
            verb=self._config.work.verb,
            command=self._config.command,
            version=__version__,
            settings=settings,
            products=len(self._config.entries),
            done_before=done_before,
            cluster=cluster,
            dashboard=dashboard,
        )
        self._say(f"{self._config.command}: {cluster}" + (f", {dashboard}" if dashboard else ""))

    def look(self, look: WorkerSnapshot) -> None:
        """Who is there now."""
        changed = look.workers.keys() != self._workers.keys()
        for address in sorted(look.workers.keys() | self._workers.keys()):
            here = address in look.workers
            if here and address in self._workers:
                continue
            worker = look.workers[address] if here else self._workers[address]
            self._tell(
                "worker",
                worker=address,
                joined=here,
                name=worker.name,
                host=worker.host,
                threads=worker.threads,
                memory=worker.memory,
                gpus=worker.gpus,
            )
            needed = self._config.work.memory(0)
            if here and DASK_PAUSE_FRACTION * worker.memory < needed:
                log.warning(
                    "worker %s on %s has %.1f GB of memory; at %.0f %% of that dask hands it "
                    "nothing more, and a small product takes %.1f GB; give workers more",
                    worker.name,
                    worker.host,
                    worker.memory / 1e9,
                    100 * DASK_PAUSE_FRACTION,
                    needed / 1e9,
                )
        self._workers = dict(look.workers)
        if look.workers:
            self._lonely_since = None
        elif self._lonely_since is None:
            self._lonely_since = time.monotonic()
        elif time.monotonic() - self._lonely_since > NO_WORKER_WARNING_SECONDS:
            self._lonely_since = float("inf")  # said once
            log.warning(
                "no worker is there for %.0f minutes: jobs wait in the queue, or end before they "
                "reach this machine; %s may say more",
                NO_WORKER_WARNING_SECONDS / 60,
                self._config.out / FOLDER / "logs",
            )
        due = time.monotonic() >= self._next_line
        if changed or due:
            self._tell("beat", running=look.running)
        if due:
            self._next_line = time.monotonic() + self._config.interval
            self._say(self._progress.line())

    def answer(self, answer: AttemptResult) -> None:
        """An attempt has ended."""
        order, fields = answer.request, answer.result.fields
        for warning in fields["warnings"]:
            log.warning("%s: %s", order.entry.name, warning)
        if not answer.result.failed:
            self._catalog.add(order.entry.name, _href(order.entry))
            self.done += 1
            self._tell("done", **fields)
            return
        if answer.final:
            self.failures.append(fields)
            assert self._failures is not None
            with self._writing():
                self._failures.write(json.dumps(fields) + "\n")
                self._failures.flush()
        self._tell("failed", **fields, final=answer.final)
        log.warning(
            "%s: %s failed in attempt %d: %s",
            order.entry.name,
            fields["stage"],
            order.attempt,
            fields["reason"],
        )

    def end(self, status: str) -> None:
        """The run has ended, if it began."""
        if self._failures is None:
            return
        self._tell("ended", status=status)
        self._say(self._progress.line())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._writing():  # closing a file writes what it still holds
            self._files.close()

    def _tell(self, kind: str, **fields: Any) -> None:
        with self._writing():
            event = self._journal.write(kind, **fields)
        self._progress.add(event)
        self._notify(self._progress)

    def _say(self, line: str) -> None:
        with self._writing():
            self._log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")
            self._log.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._config.out}: the journal cannot be written ({error.strerror or error}); "
                "mend that, and the same command goes on"
            ) from error


def _refuse_results_of_another_verb(config: FleetConfig) -> None:
    """Keep what one verb made from being made anew by another.

    Raises:
        FleetError: The folder is another verb's.
    """
    runs = (event for event in read_events(config.out) if event["event"] == "run")
    verb = next(runs, {}).get("verb", config.work.verb)
    if verb != config.work.verb:
        raise FleetError(
            f"{config.out}: holds the results of `fleet {verb}`; give `fleet {config.work.verb}` a "
            "folder of its own"
        )


def _survey(
    config: FleetConfig, settings: dict[str, Any]
) -> tuple[list[ProductEntry], list[ProductEntry]]:
    """The products that are to be done, and those that are done.

    Raises:
        FleetError: Results of other settings stand there, and are not to be made again.
    """
    todo, done = [], []
    others: list[tuple[ProductEntry, str]] = []
    for entry, found in zip(config.entries, _standings(config, settings), strict=True):
        if found.complete:
            done.append(entry)
            continue
        todo.append(entry)
        if found.difference is not None:
            others.append((entry, found.difference))
    if others and not config.redo:
        entry, how = others[0]
        raise FleetError(
            f"{item_path(config.out, entry)}: {how}; {len(others)} of {len(config.entries)} "
            "products have other results there; use --redo to recompute them, or another folder"
        )
    return todo, done


def _standings(config: FleetConfig, settings: dict[str, Any]) -> Iterator[ResultState]:
    """What stands where each product's result is to be, in their order."""
    entries = config.entries
    parts = [entries[at : at + STATES_PER_TASK] for at in range(0, len(entries), STATES_PER_TASK)]
    pool = ThreadPoolExecutor(STATE_THREADS)
    try:
        for found in pool.map(lambda p: [result_state(config.out, e, settings) for e in p], parts):
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _href(entry: ProductEntry) -> str:
    """An item's path in the folder of results."""
    return f"{entry.name}/{entry.name}.json"


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """The folder of results for this process alone; made where it is not there.

    Raises:
        BusyError: Another fleet is running there.
        OutputError: It cannot be made or written.
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
