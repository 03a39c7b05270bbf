"""What the verbs that start a fleet have in common: arguments, progress bar, outcome."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decametre.cli.console import progress_of
from decametre.cli.fleet.inputs import input_argument, out_argument, read_entries
from decametre.cli.options import Command, options
from decametre.errors import FleetError
from decametre.fleet.inputs.options import SearchOptions
from decametre.fleet.options import FleetOptions
from decametre.text import counted

if TYPE_CHECKING:
    from decametre.fleet.progress import RunProgress
    from decametre.fleet.run import FleetResult

log = logging.getLogger(__name__)


def fleet_command(
    activity: str, *own_options: Callable[[Command], Command]
) -> Callable[[Command], click.Command]:
    """Make a command of a function that processes many products.

    The function gets the products, the output folder, all options, and `notify`, the callback of
    the progress. It returns a `FleetResult`.

    Args:
        activity: What happens to a product, for the progress bar.
        own_options: Decorators that add options of this command alone.
    """

    def decorate(function: Command) -> click.Command:
        @functools.wraps(function)
        def command(source: str | None, out: Path, terms: SearchOptions, **arguments: Any) -> None:
            entries = read_entries(source, terms, out)
            with _progress_bar(activity) as notify:
                result = function(entries, out, notify=notify, **arguments)
            _log_outcome(result, out)

        decorated = options(FleetOptions)(command)
        for decorator in reversed(own_options):
            decorated = decorator(decorated)
        decorated = options(SearchOptions, into="terms")(decorated)
        return click.command()(input_argument(out_argument(decorated)))

    return decorate


@contextmanager
def _progress_bar(activity: str) -> Iterator[Callable[[RunProgress], None]]:
    """Show a progress bar; yields the callback that updates it."""
    with progress_of(activity, "products", "products") as show:
        yield lambda progress: show(
            progress.done + progress.failed, progress.all, progress.computed
        )


def _log_outcome(result: FleetResult, out: Path) -> None:
    """Log the outcome.

    Raises:
        FleetError: Products failed.
    """
    before = f", {result.done_before} before" if result.done_before else ""
    log.info(
        "completed %s%s; the catalog is %s",
        counted(result.done, "product"),
        before,
        out / "catalog.json",
    )
    if result.failures:
        raise FleetError(
            f"{len(result.failures)} of {len(result.failures) + result.done + result.done_before} "
            f"products failed; {out / 'failures.jsonl'} lists them, and the same command retries "
            "them"
        )
