"""A parent process of each rank, which starts the rank again when it ends or hangs.

Launchers end a job when one of its processes ends (torchrun), or leave the others without it
(srun). Therefore the process that the launcher starts runs the same command in a child process,
which is the rank.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

import psutil

from decametre.training.stopping import SIGNALS

log = logging.getLogger(__name__)

VARIABLE = "DECAMETRE_SUPERVISED"
"""Environment variable of the child process, with the number of restarts."""

RESTART_STATUS = 75
"""Exit status of a rank that must start again, because others were lost (EX_TEMPFAIL)."""

MAX_QUICK_RESTARTS = 5
"""So many restarts in a row are permitted of ranks that ran for less than `QUICK_SECONDS`."""

QUICK_SECONDS = 60.0
"""A rank that ends sooner has probably a cause to end that remains."""

STOPPED_SECONDS = 5.0
"""A rank that is stopped (SIGSTOP) for so long is killed. The other ranks wait for a heartbeat
twice as long, so a rank that they have given up cannot write files when it wakes up."""

POLL_SECONDS = 0.2
"""Pause between two looks at the child."""

PR_SET_PDEATHSIG = 1
"""For prctl(2) of Linux: the signal that a process gets when its parent ends."""


class Child(Protocol):
    """The part of `psutil.Popen` that is used here."""

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""

    def status(self) -> str:
        """State of the process, such as `stopped`."""

    def kill(self) -> None:
        """Send SIGKILL."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""


def is_supervised() -> bool:
    """Whether this process is the child of a supervisor."""
    return VARIABLE in os.environ


def restart_count() -> int:
    """How often a supervisor has started this rank again."""
    return int(os.environ.get(VARIABLE, "0"))


def start_child(restarts: int) -> Child:
    """Start the command of this process again, as a rank.

    Args:
        restarts: How often it has been started before.
    """
    # Without the first variable, torch prints a stack trace for each lost connection.
    variables = {"TORCH_CPP_LOG_LEVEL": "FATAL"} | os.environ | {VARIABLE: str(restarts)}
    command = [sys.executable, *sys.orig_argv[1:]]
    # In its own session: Ctrl-C reaches it once, from here.
    child: Child = psutil.Popen(command, env=variables, start_new_session=True)
    return child


def end_with_parent() -> None:
    """Let the kernel end a supervised process when its supervisor is killed; only on Linux."""
    if is_supervised() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def supervise(
    name: str,
    start: Callable[[int], Child] = start_child,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run a rank in child processes until it ends for another reason than a failure of ranks.

    Args:
        name: Name of the rank in messages.
        start: Starts a child; its argument is the number of restarts.
        clock: Seconds of a running clock.
        sleep: Waits for some seconds.

    Returns:
        The exit status of the last child.
    """
    quick = restarts = 0
    while True:
        begun = clock()
        child = start(restarts)
        with _forwarding_signals(child) as stops:
            status = _wait(child, clock, sleep)
        quick = quick + 1 if clock() - begun < QUICK_SECONDS else 0
        # As shells report the end by a signal.
        reported = 128 - status if status < 0 else status
        if stops or (status >= 0 and status != RESTART_STATUS):
            return reported
        if quick > MAX_QUICK_RESTARTS:
            log.error("%s ended %d times within %.0f s each", name, quick, QUICK_SECONDS)
            return reported
        restarts += 1
        if status < 0:
            log.error("%s ended (%s) and is started again", name, signal.Signals(-status).name)


def _wait(child: Child, clock: Callable[[], float], sleep: Callable[[float], None]) -> int:
    """Wait for the end of a child, and kill it if it hangs."""
    stopped_at: float | None = None
    while (status := child.poll()) is None:
        try:
            stopped = child.status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            continue
        now = clock()
        stopped_at = (now if stopped_at is None else stopped_at) if stopped else None
        if stopped_at is not None and now - stopped_at > STOPPED_SECONDS:
            child.kill()
        sleep(POLL_SECONDS)
    return status


@contextmanager
def _forwarding_signals(child: Child) -> Iterator[list[int]]:
    """Forward requests to stop to the child; yields those that came."""
    came: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        came.append(number)
        child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
