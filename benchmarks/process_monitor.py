"""A command as a process of its own: how long it takes, and in how much memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import DecametreError

_PAUSE = 0.02  # seconds between two looks at the process
_LOOKING = 0.02  # of a core, at most, for its memory: a look takes milliseconds for a GB


@dataclass(frozen=True)
class ProcessUsage:
    """What was seen of a process.

    Attributes:
        seconds: From start to end, the start of Python included.
        processor_seconds: Of it and its children, on whichever cores.
        peak_memory_gb: Largest memory of it and its children together, shared pages counted once,
            in 1e9 bytes; 0 without /proc.
        killed: Whether it was killed before its end.
        output: What it wrote to standard output.
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
        command: Its words. It may write a few lines to standard output.
        enough: Called again and again with the seconds since the start; from its first True on,
            the process is killed by SIGKILL.

    Raises:
        DecametreError: It failed.
    """
    begun, before = time.perf_counter(), _processor_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, next_look, killed = 0, begun, False
    try:
        while process.poll() is None:
            if time.perf_counter() >= next_look:
                spent = time.thread_time()  # where others compute as well, a look only seems long
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
    """Of all child processes that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _memory(pid: int) -> int:
    """A process's resident memory in bytes, what it shares divided among those who share it."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended
        pass
    return 0
