"""A whole fleet: leaves out what is done, has the rest done, and writes down what comes of it."""

from __future__ import annotations

import fcntl
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
from decametre.fleet.catalog import Catalog
from decametre.fleet.completion import Standing, item_path, standing
from decametre.fleet.engine import Crew
from decametre.fleet.events import Journal, read_events
from decametre.fleet.inputs.product_entry import FOLDER, Entry
from decametre.fleet.jobs import Work
from decametre.fleet.messages import Answer, Look, WorkerInfo
from decametre.fleet.progress import Progress, lock_path
from decametre.fleet.worker import Order
from decametre.version import __version__

log = logging.getLogger(__name__)

FAILURES, LOG = "failures.jsonl", "fleet.log"

LONELY = 300.0
"""Seconds without a worker after which that is said."""

PAUSED_AT = 0.8
"""Share of its memory at which dask hands a worker nothing more."""

LARGEST = float("inf")
"""Bytes of a product of unknown size, for the order of work: late is worse than early."""

LOOKS, LOOKED_AT = 16, 50
"""Threads that look for results, and how many each looks for at a time: on a cluster's file system
a look takes as long as many together."""

Gather = Callable[[int], AbstractContextManager[Crew]]
"""Brings workers together for so many products."""

Notify = Callable[[Progress], None]
"""Called after every event."""


@dataclass(frozen=True)
class Plan:
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
    entries: Sequence[Entry]
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


def run(plan: Plan, gather: Gather, notify: Notify) -> FleetResult:
    """Do what a plan says.

    Args:
        plan: What.
        gather: Brings the workers together; called only if there is something to do.
        notify: Called after every event.

    Raises:
        FleetError: Another fleet is at work in the folder, results of another verb or of other
            settings stand there, or the scheduler is gone.
        OutputError: The folder cannot be written.
        DecametreError: The settings make no sense.
    """
    plan.work.check()
    settings = json.loads(json.dumps(plan.work.settings()))
    with _locked(plan.out):
        _refuse_results_of_another_verb(plan)
        todo, done = _survey(plan, settings)
        catalog = Catalog(plan.out, f"Sentinel-2 products: {plan.work.verb}, by decametre")
        for name in catalog.prune({entry.name for entry in done}):
            log.info("%s is gone, and no longer in the catalog", name)
        catalog.add_all({entry.name: _href(entry) for entry in done})
        todo.sort(key=lambda entry: -(LARGEST if entry.size is None else entry.size))
        with _Record(plan, catalog, notify) as record:
            return _work(plan, settings, todo, len(done), gather, record)


def _work(
    plan: Plan,
    settings: dict[str, Any],
    todo: Sequence[Entry],
    done_before: int,
    gather: Gather,
    record: _Record,
) -> FleetResult:
    """Have the rest done, and write down how it ended."""
    ended = "interrupted"
    try:
        if todo:
            with gather(len(todo)) as here:
                record.begin(settings, done_before, here.described, here.dashboard)
                orders = (
                    Order(
                        work=plan.work,
                        settings=settings,
                        version=__version__,
                        entry=entry,
                        out=str(plan.out),
                        scratch=None if plan.scratch is None else str(plan.scratch),
                        attempt=1,
                    )
                    for entry in todo
                )
                for news in here.perform(orders, plan.retries):
                    if isinstance(news, Answer):
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


class _Record:
    """Writes down what happens: journal, catalog, failures and log; a context manager.

    Args:
        plan: What is done.
        catalog: Of the results.
        notify: Called after every event.

    Raises:
        OutputError: One of them cannot be written.
    """

    def __init__(self, plan: Plan, catalog: Catalog, notify: Notify) -> None:
        self._plan, self._catalog, self._notify = plan, catalog, notify
        self._journal, self._progress = Journal(plan.out), Progress()
        self._workers: dict[str, WorkerInfo] = {}
        self._failures: IO[str] | None = None
        self._next_line = 0.0
        self._lonely_since: float | None = time.monotonic()
        self.done = 0
        self.failures: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        out = self._plan.out
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
            failures = (self._plan.out / FAILURES).open("w", encoding="utf-8")
            self._failures = self._files.enter_context(failures)
        self._tell(
            "run",
            verb=self._plan.work.verb,
            command=self._plan.command,
            version=__version__,
            settings=settings,
            products=len(self._plan.entries),
            done_before=done_before,
            cluster=cluster,
            dashboard=dashboard,
        )
        self._say(f"{self._plan.command}: {cluster}" + (f", {dashboard}" if dashboard else ""))

    def look(self, look: Look) -> None:
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
            needed = self._plan.work.memory(0)
            if here and PAUSED_AT * worker.memory < needed:
                log.warning(
                    "worker %s on %s has %.1f GB of memory; at %.0f %% of that dask hands it "
                    "nothing more, and a small product takes %.1f GB; give workers more",
                    worker.name,
                    worker.host,
                    worker.memory / 1e9,
                    100 * PAUSED_AT,
                    needed / 1e9,
                )
        self._workers = dict(look.workers)
        if look.workers:
            self._lonely_since = None
        elif self._lonely_since is None:
            self._lonely_since = time.monotonic()
        elif time.monotonic() - self._lonely_since > LONELY:
            self._lonely_since = float("inf")  # said once
            log.warning(
                "no worker is there for %.0f minutes: jobs wait in the queue, or end before they "
                "reach this machine; %s may say more",
                LONELY / 60,
                self._plan.out / FOLDER / "logs",
            )
        due = time.monotonic() >= self._next_line
        if changed or due:
            self._tell("beat", running=look.running)
        if due:
            self._next_line = time.monotonic() + self._plan.interval
            self._say(self._progress.line())

    def answer(self, answer: Answer) -> None:
        """An attempt has ended."""
        order, fields = answer.order, answer.outcome.fields
        for warning in fields["warnings"]:
            log.warning("%s: %s", order.entry.name, warning)
        if not answer.outcome.failed:
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
                f"{self._plan.out}: the journal cannot be written ({error.strerror or error}); "
                "mend that, and the same command goes on"
            ) from error


def _refuse_results_of_another_verb(plan: Plan) -> None:
    """Keep what one verb made from being made anew by another.

    Raises:
        FleetError: The folder is another verb's.
    """
    runs = (event for event in read_events(plan.out) if event["event"] == "run")
    verb = next(runs, {}).get("verb", plan.work.verb)
    if verb != plan.work.verb:
        raise FleetError(
            f"{plan.out}: holds the results of `fleet {verb}`; give `fleet {plan.work.verb}` a "
            "folder of its own"
        )


def _survey(plan: Plan, settings: dict[str, Any]) -> tuple[list[Entry], list[Entry]]:
    """The products that are to be done, and those that are done.

    Raises:
        FleetError: Results of other settings stand there, and are not to be made again.
    """
    todo, done = [], []
    others: list[tuple[Entry, str]] = []
    for entry, found in zip(plan.entries, _standings(plan, settings), strict=True):
        if found.done:
            done.append(entry)
            continue
        todo.append(entry)
        if found.otherwise is not None:
            others.append((entry, found.otherwise))
    if others and not plan.redo:
        entry, how = others[0]
        raise FleetError(
            f"{item_path(plan.out, entry)}: {how}; {len(others)} of {len(plan.entries)} products "
            "stand there otherwise; --redo makes them again, another folder leaves them"
        )
    return todo, done


def _standings(plan: Plan, settings: dict[str, Any]) -> Iterator[Standing]:
    """What stands where each product's result is to be, in their order."""
    entries = plan.entries
    parts = [entries[at : at + LOOKED_AT] for at in range(0, len(entries), LOOKED_AT)]
    pool = ThreadPoolExecutor(LOOKS)
    try:
        for found in pool.map(lambda p: [standing(plan.out, e, settings) for e in p], parts):
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _href(entry: Entry) -> str:
    """An item's path in the folder of results."""
    return f"{entry.name}/{entry.name}.json"


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """The folder of results for this process alone; made where it is not there.

    Raises:
        FleetError: Another fleet is at work there.
        OutputError: It cannot be made or written.
    """
    if not out.parent.is_dir():
        raise OutputError(f"{out}: folder {out.parent} does not exist; make it first")
    path = lock_path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error})") from error
    with lock:
        for last in (False, False, True):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if last:
                    raise FleetError(f"{out}: another fleet is at work there; wait") from error
                time.sleep(0.1)  # `fleet status` holds it for a moment
            except OSError as error:
                raise OutputError(
                    f"{out}: its file system has no locks ({error.strerror}); choose another "
                    "folder, or have it mounted with them"
                ) from error
        yield
