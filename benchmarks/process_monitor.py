"""Time and memory of a command."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import DecametreError

_PAUSE = 0.02
"""Seconds between two checks of the process."""

_MEASURING_SHARE = 0.02
"""Largest share of a core that is spent on measuring memory, which takes milliseconds per GB."""


@dataclass(frozen=True)
class ProcessUsage:
    """Time, memory and output of a process.

    Attributes:
        seconds: From start to end, the start of Python included.
        cpu_seconds: CPU time of it and its children.
        peak_memory_gb: Largest memory of it and its children together, shared pages counted once,
            in 1e9 bytes; 0 without /proc.
        killed: Whether it was killed before its end.
        output: What it wrote to standard output.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_gb: float
    killed: bool
    output: str


def run_monitored(
    command: Sequence[str], enough: Callable[[float], bool] | None = None
) -> ProcessUsage:
    """Run a command and measure it.

    Args:
        command: Its words. It may write a few lines to standard output.
        enough: Called repeatedly with the seconds since the start. When it returns True, the
            process is killed by SIGKILL.

    Raises:
        DecametreError: The command failed.
    """
    begun, before = time.perf_counter(), children_cpu_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, next_measurement, killed = 0, begun, False
    try:
        while process.poll() is None:
            if time.perf_counter() >= next_measurement:
                spent = time.thread_time()  # unlike wall time, it excludes waiting for a core
                family = [process.pid, *_children(process.pid)]
                peak = max(peak, sum(map(_memory, family)))
                next_measurement = (
                    time.perf_counter() + (time.thread_time() - spent) / _MEASURING_SHARE
                )
            if enough and enough(time.perf_counter() - begun):
                process.kill()
                killed = process.wait() < 0
            else:
                time.sleep(_PAUSE)
    finally:
        process.kill()
        output, _ = process.communicate()
    if process.returncode and not killed:
        raise DecametreError(f"{' '.join(command)} failed with status {process.returncode}")
    return ProcessUsage(
        time.perf_counter() - begun, children_cpu_seconds() - before, peak / 1e9, killed, output
    )


def children_cpu_seconds() -> float:
    """CPU time of all child processes that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _memory(pid: int) -> int:
    """Proportional set size of a process in bytes: shared pages are divided by their users."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended
        pass
    return 0
