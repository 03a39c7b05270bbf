"""A run of a fleet: skips completed products, processes the others and records the results."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.errors import FleetError, OutputError
from decametre.files import check_parent, locked
from decametre.fleet.catalog import Catalog
from decametre.fleet.completion import ResultState, item_href, item_path, result_state
from decametre.fleet.config import FleetConfig
from decametre.fleet.engine import WorkerPool
from decametre.fleet.events import lock_path, run_events
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.messages import AttemptResult
from decametre.fleet.progress import ProgressCallback
from decametre.fleet.recorder import RunRecorder, open_recorder
from decametre.fleet.worker import TaskRequest
from decametre.version import __version__

log = logging.getLogger(__name__)

UNKNOWN_SIZE = float("inf")
"""Size assumed for a product of unknown size: a large product should start early."""

STATE_THREADS, STATES_PER_TASK = 16, 50
"""Threads that check for existing results, and products that each checks at a time. Each check
waits for the file system of the cluster, which handles many at a time."""

OpenPool = Callable[[int], AbstractContextManager[WorkerPool]]
"""Opens a worker pool for a number of products."""


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
        catalog.add_all({entry.name: item_href(entry) for entry in complete})
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
    state, folder = "interrupted", config.options.stage_to
    scratch = None if folder is None else str(folder)
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
                        scratch=scratch,
                        attempt=1,
                    )
                    for entry in todo
                )
                for message in pool.perform(requests, config.options.retries):
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
    if different and not config.options.redo:
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
