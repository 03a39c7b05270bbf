"""Stopping on request: Ctrl-C, a signal from the job scheduler, or one from the launcher."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

log = logging.getLogger(__name__)

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
"""Signals that request a stop; Windows has no SIGUSR1. SLURM sends SIGUSR1 before the time limit if
the job requests it (`--signal=USR1@120`)."""

HANG_TIMEOUT = 15.0
"""Seconds after SIGINT or SIGTERM in which the main thread runs no Python code before
`HangWatchdog` ends the process. torchrun and SLURM kill it 30 seconds after SIGTERM."""

WATCHDOG_INTERVAL = 0.5
"""Seconds between two checks of the main thread after a stop was requested."""


class StopSignal:
    """Records the signals that request a stop, so that the training loop can stop after a step.

    A second Ctrl-C raises KeyboardInterrupt at once. Outside the main thread the class does
    nothing, because Python delivers signals to the main thread only.
    """

    def __init__(self) -> None:
        self.requested = False
        self.previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._record) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


class HangWatchdog:
    """Ends a process that was asked to stop while it waits for a rank that hangs.

    Python runs signal handlers in the main thread between two instructions, so not while that
    thread waits inside `torch.distributed`, possibly for minutes. But the interpreter writes each
    signal's number to a file descriptor at once (`signal.set_wakeup_fd`), and a thread reads it.
    From then on the thread sends SIGURG, which nothing else uses, to the main thread and checks
    that it is handled. A main thread that computes, validates or saves handles it between two
    operations and is left alone, however long it takes.

    Outside the main thread the class does nothing.

    Args:
        name: Name of this process in the message.
        clock: Seconds of a running clock.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.clock = name, clock
        self.last_response = 0.0
        self.finished = threading.Event()
        self.thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self.reader, self.writer = socket.socketpair()
        self.writer.setblocking(False)
        self.previous_handler = signal.signal(signal.SIGURG, self._respond)
        self.previous_wakeup = signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.thread is None:
            return
        self.finished.set()
        signal.set_wakeup_fd(self.previous_wakeup)
        self.writer.close()  # ends the thread's `recv`
        self.thread.join()
        self.reader.close()
        signal.signal(signal.SIGURG, self.previous_handler)

    def _respond(self, number: int, frame: FrameType | None) -> None:
        self.last_response = self.clock()

    def _watch(self) -> None:
        while not {signal.SIGINT, signal.SIGTERM} & set(numbers := self.reader.recv(64)):
            if not numbers:
                return
        self.last_response = self.clock()
        while self.clock() - self.last_response < HANG_TIMEOUT:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
            if self.finished.wait(WATCHDOG_INTERVAL):
                return
        log.error(
            "%s: stop requested, but the other ranks have not responded for %.0f s; this process "
            "ends without them. Repeat the command to resume from the newest checkpoint",
            self.name,
            HANG_TIMEOUT,
        )
        os._exit(130)
