"""Progress and outcome of a run, for the verbs that start one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.cli.console import progress_of
from decametre.errors import FleetError

if TYPE_CHECKING:
    from decametre.fleet.progress import RunProgress
    from decametre.fleet.run import FleetResult

log = logging.getLogger(__name__)


@contextmanager
def progress_bar(activity: str) -> Iterator[Callable[[RunProgress], None]]:
    """Show a progress bar; yields the callback that updates it."""
    with progress_of(activity, "products", "products") as show:
        yield lambda progress: show(
            progress.done + progress.failed, progress.all, progress.computed
        )


def log_outcome(result: FleetResult, out: Path) -> None:
    """Log the outcome.

    Raises:
        FleetError: Products failed.
    """
    before = f", {result.done_before} before" if result.done_before else ""
    log.info(
        "completed %d products%s; the catalog is %s", result.done, before, out / "catalog.json"
    )
    if result.failures:
        raise FleetError(
            f"{len(result.failures)} of {len(result.failures) + result.done + result.done_before} "
            f"products failed; {out / 'failures.jsonl'} lists them, and the same command retries "
            "them"
        )
