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

from decametre.progress import silent

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
def progress_of(
    what: str, unit: str = "windows", amount: str = "Mpixel"
) -> Iterator[Callable[[int, int, int], None]]:
    """Show how far a job is.

    Args:
        what: The job, for the bar's label.
        unit: What is counted.
        amount: What the rate is of; millions of them where it begins with `M`.

    Yields:
        A function of the units done, of all units, and of the amount done.
    """
    if not STDERR.is_terminal:
        yield _Lines(what, unit, amount)
        return
    scale = 1e6 if amount.startswith("M") else 1.0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
        TextColumn(f"{{task.fields[rate]:.2f}} {amount}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True) as bar:
        task = bar.add_task(what, total=None, rate=0.0)

        def update(done: int, total: int, count: int) -> None:
            seconds = bar.tasks[0].elapsed or 1.0
            bar.update(task, completed=done, total=total, rate=count / seconds / scale)

        yield update


class _Lines:
    """One log line per interval: units done, rate, time left."""

    def __init__(self, what: str, unit: str, amount: str) -> None:
        self.what, self.unit, self.amount = what, unit, amount
        self.scale = 1e6 if amount.startswith("M") else 1.0
        self.start = self.last = time.monotonic()
        self.first = 0

    def __call__(self, done: int, total: int, count: int) -> None:
        if not count:  # a job that goes on says where, before it has done anything
            self.first = done
        now = time.monotonic()
        if now - self.last < INTERVAL or done == self.first:
            return
        self.last = now
        seconds = now - self.start
        log.info(
            "%s: %d of %d %s, %.2f %s/s, %.0f s left",
            self.what,
            done,
            total,
            self.unit,
            count / seconds / self.scale,
            self.amount,
            seconds / (done - self.first) * (total - done),
        )


@contextmanager
def progress_of_first_rank(
    what: str, unit: str, amount: str
) -> Iterator[tuple[bool, Callable[[int, int, int], None]]]:
    """As `progress_of` in the first process of a job under torchrun or srun.

    The other processes show no progress and only log errors.

    Yields:
        Whether this process is the first, and what `progress_of` yields.
    """
    from decametre.training.launcher import read_rank_info

    if read_rank_info().rank == 0:
        with progress_of(what, unit, amount) as progress:
            yield True, progress
    else:
        logging.getLogger("decametre").setLevel(logging.ERROR)
        yield False, silent
