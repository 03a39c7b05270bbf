"""Worker processes that cut the patches of an extraction, each into its own shards.

A worker is a fresh interpreter, `python -m decametre.landcover.extraction.worker_pool FOLDER
SHARD...`, which reports progress on standard output as one JSON document per line. A
`ProcessPoolExecutor` would not do: a forked worker inherits threads of GDAL and torch, a spawned
one needs a `__main__` guard in the user's script, and both outlive a parent that was killed. A
worker here ends when it reports to a parent that is gone.
"""

from __future__ import annotations

import json
import logging
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from decametre.allocator import keep_freed_memory
from decametre.errors import DecametreError, PatchError
from decametre.landcover.extraction.cutting import CuttingSource, cut_patches
from decametre.landcover.extraction.plan import ExtractionPlan, PlannedPatch
from decametre.landcover.patches.patch import Patch
from decametre.landcover.patches.store_writer import PatchWriter
from decametre.progress import Progress
from decametre.sentinel2.opening import open_product
from decametre.superres.sharpening.sharpened_tile import open_sharpened

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

WORKERS_LOCK = "workers"
"""A file that all workers keep locked as long as they run."""

_BATCH = 64
"""Least number of patches that are written together."""

ShardProgress = Callable[[int, int], None]
"""Called with the number of a shard, and how many of its patches have been handled."""


class _ProgressSum:
    """Add up the progress of all shards, and pass it on.

    Args:
        plan: The extraction.
        progress: Called with patches handled, all patches, and patches handled by this run.
    """

    def __init__(self, plan: ExtractionPlan, progress: Progress) -> None:
        self._total, self._progress = sum(plan.counts), progress
        self._handled: dict[int, int] = {}
        self._resumed: dict[int, int] = {}

    def __call__(self, shard: int, handled: int) -> None:
        self._resumed.setdefault(shard, handled)  # its first report counts an earlier run's work
        self._handled[shard] = handled
        total = sum(self._handled.values())
        self._progress(total, self._total, total - sum(self._resumed.values()))


def write_shards(plan: ExtractionPlan, workers: int, progress: Progress) -> None:
    """Write all shards of an extraction; with one worker, in this process.

    Args:
        plan: The extraction.
        workers: Number of worker processes.
        progress: Called after every batch with patches handled, all patches, and patches handled
            by this run.

    Raises:
        DecametreError: A worker met a mistake of the user, or was killed. What has been written is
            kept, and the next call resumes it.
    """
    report = _ProgressSum(plan, progress)
    workers = min(workers, len(plan.counts))
    if workers == 1 or sys.platform == "win32":  # Windows does not pass locks on to processes
        for shard in range(len(plan.counts)):
            write_shard(plan, shard, report)
        return
    # Workers inherit the lock, and hold it even if this process is killed. NFS gives shared locks
    # only on files that are open for reading.
    with (plan.folder / WORKERS_LOCK).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        _run_workers(plan, workers, report, lock.fileno())


def _run_workers(plan: ExtractionPlan, workers: int, report: ShardProgress, lock: int) -> None:
    """Run workers to their end; kill all of them if one fails."""
    messages: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    processes: list[subprocess.Popen[str]] = []
    try:
        for number in range(workers):
            shards = map(str, range(len(plan.counts))[number::workers])
            command = [sys.executable, "-m", __name__, str(plan.folder), *shards]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[lock])
            processes.append(process)
            threading.Thread(
                target=_forward_messages, args=(number, process, messages), daemon=True
            ).start()
        running = workers
        while running:
            number, message = messages.get()
            if message is None:
                running -= 1
                _check_status(number, processes[number].wait())
            elif "error" in message:
                raise PatchError(message["error"])
            else:
                report(message["shard"], message["handled"])
    finally:
        for process in processes:
            process.kill()  # loses nothing, see PatchWriter
            process.wait()


def _forward_messages(
    number: int, process: subprocess.Popen[str], messages: queue.Queue[tuple[int, Any]]
) -> None:
    """Queue the messages of a worker, and None when it has ended."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            try:
                messages.put((number, json.loads(line)))
            except ValueError:  # the worker was killed within the line
                break
    messages.put((number, None))


def _check_status(number: int, status: int) -> None:
    if status < 0:
        raise PatchError(
            f"worker {number} was killed by signal {-status}, as the system does when memory runs "
            "out; repeat the command to resume"
        )
    if status:
        raise RuntimeError(f"worker {number} failed with status {status}; see its traceback above")


def wait_for_orphans(folder: Path) -> None:
    """Wait for workers whose parent was killed. They end after their next batch."""
    with (folder / WORKERS_LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for the workers of an earlier run to end")
            fcntl.flock(lock, fcntl.LOCK_EX)


class _NoDataError(Exception):
    """No patch of a shard holds data."""


def write_shard(plan: ExtractionPlan, shard: int, report: ShardProgress) -> None:
    """Write a shard, or resume one.

    Raises:
        DecametreError: A mistake of the user.
    """
    patches = plan.patches(shard)
    if not (plan.shard_path(shard).exists() or plan.empty_path(shard).exists()):
        try:
            with PatchWriter(plan.shard_path(shard), plan.header, len(patches)) as writer:
                first = 1 + max(
                    (i for i, (_, patch) in enumerate(patches) if patch.name in writer.names),
                    default=-1,
                )
                report(shard, first)
                for handled, batch in _batches(_cut_rows(plan, patches[first:])):
                    writer.append(batch)
                    report(shard, first + handled)
                if not writer.length:
                    raise _NoDataError
        except _NoDataError:
            plan.empty_path(shard).touch()
    report(shard, len(patches))


def _cut_rows(
    plan: ExtractionPlan, planned: Sequence[PlannedPatch]
) -> Iterator[tuple[int, list[Patch]]]:
    """Cut row by row; yields the number of patches of a row, and those that hold data."""
    for number, group in groupby(planned, key=lambda each: each[0]):
        product, patches = plan.products[number], [patch for _, patch in group]
        tile = open_sharpened(Path(product.tile)) if product.tile else None
        source = CuttingSource(open_product(product.source, product.offset), tile, plan.header.keys)
        sizes = [len(list(row)) for _, row in groupby(patches, key=lambda patch: patch.row)]
        yield from zip(sizes, cut_patches(source, patches), strict=True)


def _batches(rows: Iterator[tuple[int, list[Patch]]]) -> Iterator[tuple[int, list[Patch]]]:
    """Join rows into batches, each with the number of patches handled up to its end."""
    handled, batch = 0, list[Patch]()
    for size, patches in rows:
        handled += size
        batch += patches
        if len(batch) >= _BATCH:
            yield handled, batch
            batch = []
    yield handled, batch


def main(arguments: Sequence[str]) -> int:
    """Write the shards given on the command line, and return the exit status."""
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which kills workers
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def send(**message: object) -> None:
        print(json.dumps(message), flush=True)  # noqa: T201

    try:
        plan = ExtractionPlan.load(Path(arguments[0]))
        for shard in map(int, arguments[1:]):
            write_shard(plan, shard, lambda at, handled: send(shard=at, handled=handled))
    except DecametreError as error:
        send(error=": ".join([*getattr(error, "__notes__", []), str(error)]))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
