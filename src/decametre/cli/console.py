"""Messages and progress on standard error: a bar on a terminal, otherwise one line per interval."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich import progress as rich_progress
from rich.console import Console

from decametre.progress import Progress, silent

STDERR = Console(stderr=True)

INTERVAL = 30.0
"""Seconds between progress lines if standard error is not a terminal."""

log = logging.getLogger(__name__)


class StderrHandler(logging.Handler):
    """Writes one plain line per message, with the time, to the current standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        trace = ""
        if record.exc_info:
            trace = "\n" + logging.Formatter().formatException(record.exc_info)
        with suppress(OSError):  # a full disk under the log does not end a job
            print(f"{clock} {level}{record.getMessage()}{trace}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def progress_of(what: str, unit: str = "windows", amount: str = "Mpixel") -> Iterator[Progress]:
    """Show the progress of a job.

    Args:
        what: Name of the job, as the label.
        unit: Name of the units that are counted.
        amount: Unit of the processed amount, for the rate; with `M` as first letter, the rate is in
            millions.

    Yields:
        The function to call with the progress.
    """
    if not STDERR.is_terminal:
        yield _Lines(what, unit, amount)
        return
    scale = 1e6 if amount.startswith("M") else 1.0
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TextColumn(f"{{task.completed}}/{{task.total}} {unit}"),
        rich_progress.TextColumn(f"{{task.fields[rate]:.2f}} {amount}/s"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("left"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=STDERR, transient=True) as bar:
        task = bar.add_task(what, total=None, rate=0.0)

        def update(completed: int, total: int, count: int) -> None:
            seconds = bar.tasks[0].elapsed or 1.0
            bar.update(task, completed=completed, total=total, rate=count / seconds / scale)

        yield update


class _Lines:
    """Logs one line per interval: completed units, rate, remaining time."""

    def __init__(self, what: str, unit: str, amount: str) -> None:
        self.what, self.unit, self.amount = what, unit, amount
        self.scale = 1e6 if amount.startswith("M") else 1.0
        self.start = self.last = time.monotonic()
        self.first = 0

    def __call__(self, completed: int, total: int, count: int) -> None:
        if not count:  # a resumed job first reports its start
            self.first = completed
        now = time.monotonic()
        if now - self.last < INTERVAL or completed == self.first:
            return
        self.last = now
        seconds = now - self.start
        log.info(
            "%s: %d of %d %s, %.2f %s/s, %.0f s left",
            self.what,
            completed,
            total,
            self.unit,
            count / seconds / self.scale,
            self.amount,
            seconds / (completed - self.first) * (total - completed),
        )


@contextmanager
def progress_of_first_rank(what: str, unit: str, amount: str) -> Iterator[tuple[bool, Progress]]:
    """As `progress_of` in the first process of a job under torchrun or srun.

    The other processes show no progress and only log errors.

    Yields:
        Whether this process is the first, and the function to call with the progress.
    """
    from decametre.training.launcher import read_rank_info

    if read_rank_info().rank == 0:
        with progress_of(what, unit, amount) as progress:
            yield True, progress
    else:
        logging.getLogger("decametre").setLevel(logging.ERROR)
        yield False, silent
