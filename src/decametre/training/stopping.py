"""Asked to stop: by Ctrl-C, by a scheduler that takes the machine back, by a launcher."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""SLURM sends SIGUSR1 some time before the end, where the job asks for it (`--signal=USR1@120`)."""


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
