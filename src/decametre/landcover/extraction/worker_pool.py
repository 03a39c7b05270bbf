"""Workers side by side: starts them, hears how far they are, and ends them together."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decametre.errors import PatchError
from decametre.landcover.extraction.plan import Job
from decametre.landcover.extraction.shard_worker import write_shard

log = logging.getLogger(__name__)

AT_WORK = "workers"
"""A file of which all workers hold a lock, from their first moment to their last."""

Progress = Callable[[int, int, int], None]
"""Called with the patches dealt with, all patches, and those dealt with in this run."""


class _Tally:
    """Adds up what the shards report."""

    def __init__(self, job: Job, progress: Progress) -> None:
        self._total, self._progress = sum(job.counts), progress
        self._done: dict[int, int] = {}
        self._found: dict[int, int] = {}

    def __call__(self, shard: int, done: int) -> None:
        self._found.setdefault(shard, done)  # what an earlier run had done
        self._done[shard] = done
        everything = sum(self._done.values())
        self._progress(everything, self._total, everything - sum(self._found.values()))


def write_shards(job: Job, workers: int, progress: Progress) -> None:
    """Write all shards of a job; with one worker, in this process.

    Args:
        job: The job.
        workers: How many processes work at a time, each on shards of its own.
        progress: Called after every batch of patches.

    Raises:
        DecametreError: A worker met something that the user can mend, or was killed. What has been
            written is kept, and the next call goes on with it.
    """
    shards = range(len(job.counts))
    tally = _Tally(job, progress)
    crew = min(workers, len(shards))
    if crew == 1:
        for shard in shards:
            write_shard(job, shard, tally)
        return
    # Workers inherit the lock, and keep it when this process is killed.
    with (job.folder / AT_WORK).open("a+") as lock:  # NFS locks for reading what can be read
        fcntl.flock(lock, fcntl.LOCK_SH)
        _work(job, crew, tally, lock.fileno())


def _work(job: Job, crew: int, tally: _Tally, lock: int) -> None:
    """Run workers, and end all where one fails."""
    events: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    processes: list[subprocess.Popen[str]] = []
    try:
        for number in range(crew):
            own = [str(shard) for shard in range(len(job.counts))[number::crew]]
            command = [
                sys.executable,
                "-m",
                "decametre.landcover.extraction.shard_worker",
                str(job.folder),
                *own,
            ]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[lock])
            processes.append(process)
            threading.Thread(target=_listen, args=(number, process, events), daemon=True).start()
        at_work = crew
        while at_work:
            number, event = events.get()
            if event is None:
                at_work -= 1
                _check(number, processes[number].wait())
            elif "error" in event:
                raise PatchError(event["error"])
            else:
                tally(event["shard"], event["done"])
    finally:
        for process in processes:
            process.kill()  # nothing is lost: see PatchWriter
            process.wait()


def _listen(
    number: int, process: subprocess.Popen[str], events: queue.Queue[tuple[int, Any]]
) -> None:
    """Pass a worker's lines on; None when it has ended."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            try:
                events.put((number, json.loads(line)))
            except ValueError:  # a line that the worker was killed in
                break
    events.put((number, None))


def _check(number: int, status: int) -> None:
    if status < 0:
        raise PatchError(
            f"worker {number} was killed by signal {-status}, which the system does when memory "
            "runs out; the same command goes on where it was"
        )
    if status:
        raise RuntimeError(f"worker {number} failed with status {status}; its traceback is above")


def wait_for_orphans(folder: Path) -> None:
    """Wait for workers of an earlier run that was killed; they end after their next batch."""
    with (folder / AT_WORK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for the workers of an earlier run to end")
            fcntl.flock(lock, fcntl.LOCK_EX)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
