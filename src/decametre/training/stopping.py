"""Asked to stop: by Ctrl-C, by a scheduler that takes the machine back, by a launcher."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import Any, Self

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""SLURM sends SIGUSR1 some time before the end, where the job asks for it (`--signal=USR1@120`)."""

PATIENCE = 15.0
"""Seconds after SIGINT or SIGTERM in which the main thread does not get to run Python, before
`Watch` ends the process. torchrun and SLURM kill it 30 seconds after their SIGTERM."""

PULSE = 0.5
"""Seconds between looks at the main thread, once it was asked to stop."""


class Stop:
    """Notes that a signal asks for an end, which then is for the loop to find.

    A second Ctrl-C ends at once. Outside the main thread, signals are not ours to answer.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


class Watch:
    """Ends a process that was asked to stop and cannot answer, as it waits for a rank that hangs.

    Python runs the handlers of signals in its main thread, and not while that waits for other ranks
    inside of `torch.distributed`, which may take minutes. The bytes that Python's own handler
    writes to a socket come at once. A thread reads them; from then on it sends the main thread a
    signal that nobody else uses (SIGURG), and sees whether that is handled. One that computes,
    validates or saves handles it between two operations, and is left alone, however long it takes.

    Outside the main thread, signals are not ours to answer.

    Args:
        who: This process among the others, in words.
    """

    def __init__(self, who: str) -> None:
        self.who = who
        self.alive = 0.0
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self.ours, self.pythons = socket.socketpair()
        self.pythons.setblocking(False)
        self.handler_before = signal.signal(signal.SIGURG, self._live)
        self.wakeup_before = signal.set_wakeup_fd(self.pythons.fileno(), warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.thread is None:
            return
        self.over.set()
        signal.set_wakeup_fd(self.wakeup_before)
        self.pythons.close()  # the thread reads the end of it
        self.thread.join()
        self.ours.close()
        signal.signal(signal.SIGURG, self.handler_before)

    def _live(self, number: int, frame: FrameType | None) -> None:
        self.alive = time.monotonic()

    def _watch(self) -> None:
        while not {signal.SIGINT, signal.SIGTERM} & set(numbers := self.ours.recv(64)):
            if not numbers:
                return
        self.alive = time.monotonic()
        while time.monotonic() - self.alive < PATIENCE:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)
            if self.over.wait(PULSE):
                return
        log.error(
            "%s: asked to stop, and the others have not answered for %.0f s: it ends without them; "
            "the same command goes on from the newest checkpoint",
            self.who,
            PATIENCE,
        )
        os._exit(130)
