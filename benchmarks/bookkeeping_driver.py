"""The driver of a fleet whose products need no computation; it measures itself.

Scheduler and client live in this process, which is started by
`python -m benchmarks.bookkeeping_driver OUT COUNT SAMPLES [STOP_AT]`. It interrupts itself after
STOP_AT products. Started again, it resumes.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from benchmarks.bookkeeping_work import Bookkeeping, entries
from decametre.fleet.config import FleetConfig
from decametre.fleet.events import events_path
from decametre.fleet.options import FleetOptions
from decametre.fleet.progress import RunProgress
from decametre.fleet.run import run
from decametre.fleet.worker_pools import local_pool

WORKERS = 2

MEMORY = 2_000_000_000
"""Memory limit of a worker in bytes. A worker that has loaded torch needs a quarter of it."""

SAMPLES = 10
"""Number of samples while all products of the list are completed."""

INTERRUPTED = 130
"""Exit status of an interrupted process, as in shells."""


class ResourceLog:
    """Writes the resources that this process has used, each time a tenth of the products is done.

    Args:
        file: The output, with one JSON object per line.
        count: Number of products of the list.
        journal: The journal of the fleet.
        stop_at: Number of products after which the process interrupts itself.
    """

    def __init__(
        self, file: IO[str], count: int, journal: Path, stop_at: int | None = None
    ) -> None:
        self._file, self._step, self._journal = file, max(1, count // SAMPLES), journal
        self._stop_at = stop_at
        self._next = 0

    def __call__(self, progress: RunProgress) -> None:
        """Handle an event of the fleet."""
        if progress.done < self._next:
            return
        self._next = (progress.done // self._step + 1) * self._step
        sample = {
            "done": progress.done,
            "time": time.time(),
            "cpu_seconds": time.process_time(),
            "memory": _memory(),
            "written": _written(),
            "journal": self._journal.stat().st_size,
        }
        self._file.write(json.dumps(sample) + "\n")
        self._file.flush()
        if self._stop_at is not None and progress.done >= self._stop_at:
            os.kill(os.getpid(), signal.SIGINT)


def _memory() -> int:
    """Resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _written() -> int:
    """Number of bytes that this process has written to files; sockets do not count."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def main(words: Sequence[str]) -> None:
    """Process the products that are not completed in the folder OUT."""
    out, count, samples = Path(words[0]), int(words[1]), Path(words[2])
    stop_at = int(words[3]) if len(words) > 3 else None
    logging.disable(logging.WARNING)  # warnings about products of a worker that ended
    plan = FleetConfig(
        work=Bookkeeping(),
        entries=list(entries(out.parent / "products", count)),
        out=out,
        options=FleetOptions(),
        command="python -m benchmarks bookkeeping",
    )
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS"), "1")
    specs = [{"threads": 1, "memory": MEMORY, "env": one}] * WORKERS
    description = f"{WORKERS} local workers of 1 thread"
    with samples.open("a", encoding="utf-8") as file:
        resource_log = ResourceLog(file, count, events_path(out), stop_at)
        run(plan, lambda left: local_pool(specs, description, left), resource_log)


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # shells ignore it in background processes
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
