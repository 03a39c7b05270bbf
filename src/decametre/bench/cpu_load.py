"""Load on CPU cores: measures that of other programs, and creates load on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import psutil


@contextmanager
def competitor(core: int) -> Iterator[None]:
    """In this context, a separate process computes on a core all the time."""
    # It ends itself if this process is killed.
    code = f"import os\nwhile os.getppid() == {os.getpid()}:\n    for _ in range(10**5): pass"
    process = subprocess.Popen([sys.executable, "-S", "-c", code], stderr=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, {core})
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def measure_other_programs(cores: Sequence[int]) -> Iterator[list[float]]:
    """Measure which fraction of the time of some cores is used by other programs.

    Yields:
        A list, to which the fraction is appended at the end of the context. Processes that were
        started in the context must have ended by then.
    """
    fractions: list[float] = []
    begun, busy, own = perf_counter(), busy_seconds(cores), own_seconds()
    yield fractions
    elapsed = perf_counter() - begun
    others = busy_seconds(cores) - busy - (own_seconds() - own)
    fractions.append(max(0.0, others / elapsed / len(cores)))


def busy_seconds(cores: Sequence[int]) -> float:
    """Seconds since the system start in which cores computed or were used by another guest."""
    every = psutil.cpu_times(percpu=True)
    chosen = (every[core] for core in cores)
    return sum(t.user + t.nice + t.system + t.irq + t.softirq + t.steal for t in chosen)


def own_seconds() -> float:
    """CPU seconds of this process and its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
