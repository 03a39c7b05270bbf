"""What people see while a job runs: a bar on a terminal, one line per interval elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

STDERR = Console(stderr=True)

INTERVAL = 30.0
"""Seconds between progress lines where standard error is no terminal."""

log = logging.getLogger(__name__)


class StderrHandler(logging.Handler):
    """One plain line per message, with the time, on whatever standard error is now."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        trace = ""
        if record.exc_info:
            trace = "\n" + logging.Formatter().formatException(record.exc_info)
        print(f"{clock} {level}{record.getMessage()}{trace}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def progress_of(what: str) -> Iterator[Callable[[int, int, int], None]]:
    """Show how far a job is.

    Args:
        what: The job, for the bar's label.

    Yields:
        A function of the windows done, of all windows, and of the 10 m pixels done.
    """
    if not STDERR.is_terminal:
        yield _Lines(what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} windows"),
        TextColumn("{task.fields[rate]:.2f} Mpixel/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True) as bar:
        task = bar.add_task(what, total=None, rate=0.0)

        def update(done: int, total: int, pixels: int) -> None:
            seconds = bar.tasks[0].elapsed or 1.0
            bar.update(task, completed=done, total=total, rate=pixels / seconds / 1e6)

        yield update


class _Lines:
    """One log line per interval: windows done, rate, time left."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = self.last = time.monotonic()

    def __call__(self, done: int, total: int, pixels: int) -> None:
        now = time.monotonic()
        if now - self.last < INTERVAL or not done:
            return
        self.last = now
        seconds = now - self.start
        log.info(
            "%s: %d of %d windows, %.2f Mpixel/s, %.0f s left",
            self.what,
            done,
            total,
            pixels / seconds / 1e6,
            seconds / done * (total - done),
        )
