"""`decametre bench overlap`: exchange of gradients during back-propagation."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from decametre.cli.bench.options import (
    json_option,
    recipe_words,
    show,
)
from decametre.cli.recipe_arguments import recipe_arguments


@click.command("overlap")
@recipe_arguments
@click.option(
    "--ranks",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    help="How many processes to start here. Under torchrun or srun none is started, and this is of "
    "no effect.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Steps that are traced.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to write the report, a figure of one step, and the trace of rank 0 for "
    "chrome://tracing or ui.perfetto.dev.",
)
@json_option
def overlap_bench(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    ranks: int,
    steps: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Trace how much of the exchange of gradients of RECIPE runs during back-propagation.

    The recipe's batch is shared in equal parts. Profiling costs time: for throughput, see `bench
    scaling`.
    """
    from decametre.bench import overlap as measuring
    from decametre.bench.overlap_output import read_report
    from decametre.bench.scaling import settle, start_ranks
    from decametre.training.launcher import place_of
    from decametre.training.recipe import read_recipe

    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    place = place_of()
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as chosen:
        folder = Path(chosen)
        if place.address:
            measuring.measure_here(checked, folder, place, device, precision, steps)
        else:
            measuring.check_writable(folder)
            words = ["overlap", recipe, "--device", device, "--steps", str(steps)]
            words += ["--precision", settle(precision, device), "--out", str(folder)]
            start_ranks(ranks, words + recipe_words(train_on, validate_on, settings))
        if place.rank:
            return
        report = read_report(folder)
    show(report, as_json)
