"""Records a run in the journal, the catalog, the list of failures and the log."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from decametre.errors import OutputError
from decametre.fleet.catalog import Catalog
from decametre.fleet.completion import item_href
from decametre.fleet.config import FleetConfig
from decametre.fleet.events import Journal, open_journal
from decametre.fleet.inputs.product_entry import FOLDER
from decametre.fleet.messages import AttemptResult, WorkerInfo, WorkerSnapshot
from decametre.fleet.progress import ProgressCallback, RunProgress
from decametre.version import __version__

log = logging.getLogger(__name__)

FAILURES, LOG = "failures.jsonl", "fleet.log"

NO_WORKER_WARNING_SECONDS = 300.0
"""Seconds without a worker before a warning."""

DASK_PAUSE_FRACTION = 0.8
"""Used share of a worker's memory above which dask assigns it no more products."""


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
            self._next_line = now + self._config.options.interval
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
            self._catalog.add(request.entry.name, item_href(request.entry))
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
