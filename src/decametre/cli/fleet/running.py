"""How a fleet goes about its work, as options, and what is shown of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decametre.cli.arguments import FiniteRange, together
from decametre.cli.console import progress_of
from decametre.errors import FleetError

if TYPE_CHECKING:
    from decametre.api.fleet import FleetOptions
    from decametre.fleet.progress import Progress
    from decametre.fleet.run import FleetResult

log = logging.getLogger(__name__)

running_options = together(
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        show_default="one a GPU, or one for every 4 cores as far as memory goes",
        help="Workers on this machine.",
    ),
    click.option(
        "--cluster",
        type=click.Path(path_type=Path),
        metavar="FILE.yaml",
        help="Workers in jobs of SLURM, PBS or the like, as the file says; see examples/fleet.",
    ),
    click.option(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="Workers of a scheduler of dask that runs already.",
    ),
    click.option(
        "--redo",
        is_flag=True,
        help="Make results again that another version, model or setting made; refused without.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(min=0),
        default=2,
        show_default=True,
        help="Attempts at a product after a first one that failed, each by another worker.",
    ),
    click.option(
        "--stage-to",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Copy each product to this folder of the worker first, ahead of its turn, and remove "
        "it after: for input on slow storage. `extract` copies nothing.",
    ),
    click.option(
        "--interval",
        type=FiniteRange(min=1),
        default=30,
        show_default=True,
        metavar="SECONDS",
        help="Between two lines of OUT/fleet.log.",
    ),
)
"""The fields of `api.FleetOptions`."""


def take_options(given: dict[str, Any]) -> FleetOptions:
    """The values of `running_options`, taken out of a command's."""
    from decametre.api import FleetOptions

    return FleetOptions(**{field.name: given.pop(field.name) for field in fields(FleetOptions)})


@contextmanager
def shown(what: str) -> Iterator[Callable[[Progress], None]]:
    """Show how far a fleet is; yields what is to be told of its progress."""
    with progress_of(what, "products", "products") as show:
        yield lambda progress: show(
            progress.done + progress.failed, progress.all, progress.computed
        )


def conclude(result: FleetResult, out: Path) -> None:
    """Say how it went.

    Raises:
        FleetError: Products failed.
    """
    before = f", {result.done_before} were done before" if result.done_before else ""
    log.info("%d products done%s; the catalog is %s", result.done, before, out / "catalog.json")
    if result.failures:
        raise FleetError(
            f"{len(result.failures)} of {len(result.failures) + result.done + result.done_before} "
            f"products failed; {out / 'failures.jsonl'} lists them, and the same command tries "
            "them again"
        )
