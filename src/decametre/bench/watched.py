"""A command as a process of its own: how long it takes, and in how much memory."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import DecametreError

_PAUSE = 0.1  # seconds between two looks; each takes the kernel milliseconds of a GB
_SHORT_PAUSE = 0.02  # where a moment is not to be missed


@dataclass(frozen=True)
class Watched:
    """What was seen of a process.

    Attributes:
        seconds: From start to end, the start of Python included.
        peak_memory_gb: Largest memory of it and its children together, shared pages counted once,
            in 1e9 bytes; 0 without /proc.
        killed: Whether it was killed before its end.
        output: What it wrote to standard output.
    """

    seconds: float
    peak_memory_gb: float
    killed: bool
    output: str


def watched(command: Sequence[str], enough: Callable[[float], bool] | None = None) -> Watched:
    """Run a command.

    Args:
        command: Its words. It may write a few lines to standard output.
        enough: Called again and again with the seconds since the start; from its first True on,
            the process is killed by SIGKILL.

    Raises:
        DecametreError: It failed.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, killed = 0, False
    try:
        while process.poll() is None:
            family = [process.pid, *_children(process.pid)]
            peak = max(peak, sum(map(_memory, family)))
            if enough and enough(time.perf_counter() - begun):
                process.kill()
                killed = process.wait() < 0
            else:
                time.sleep(_SHORT_PAUSE if enough else _PAUSE)
    finally:
        process.kill()
        output, _ = process.communicate()
    if process.returncode and not killed:
        raise DecametreError(f"{' '.join(command)} failed with status {process.returncode}")
    return Watched(time.perf_counter() - begun, peak / 1e9, killed, output)


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
