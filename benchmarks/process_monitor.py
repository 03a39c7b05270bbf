"""Run a command as a separate process and measure its time and memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import DecametreError

_PAUSE = 0.02  # seconds between two checks of the process
_LOOKING = 0.02  # share of a core for reading its memory, which takes milliseconds per GB


@dataclass(frozen=True)
class ProcessUsage:
    """Measurements of a process.

    Attributes:
        seconds: Duration, including the start of Python.
        processor_seconds: CPU time of the process and its children.
        peak_memory_gb: Peak memory of the process and its children together in 1e9 bytes; shared
            pages count once; 0 if there is no /proc.
        killed: Whether it was killed before its end.
        output: Its standard output.
    """

    seconds: float
    processor_seconds: float
    peak_memory_gb: float
    killed: bool
    output: str


def run_monitored(
    command: Sequence[str], enough: Callable[[float], bool] | None = None
) -> ProcessUsage:
    """Run a command.

    Args:
        command: The command line. It may write a few lines to standard output.
        enough: Called repeatedly with the seconds since the start; when it returns True, the
            process is killed by SIGKILL.

    Raises:
        DecametreError: The command failed.
    """
    begun, before = time.perf_counter(), _processor_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, next_look, killed = 0, begun, False
    try:
        while process.poll() is None:
            if time.perf_counter() >= next_look:
                spent = time.thread_time()  # wall time would include that of other processes
                family = [process.pid, *_children(process.pid)]
                peak = max(peak, sum(map(_memory, family)))
                next_look = time.perf_counter() + (time.thread_time() - spent) / _LOOKING
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
        time.perf_counter() - begun, _processor_seconds() - before, peak / 1e9, killed, output
    )


def _processor_seconds() -> float:
    """CPU time of all child processes that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _memory(pid: int) -> int:
    """Resident memory of a process in bytes, with shared pages divided among their users."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # the process has ended
        pass
    return 0
