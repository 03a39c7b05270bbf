"""`decametre bench scaling`: training on more and more ranks."""

from __future__ import annotations

import logging
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from decametre.cli.arguments import FiniteRange
from decametre.cli.bench.options import (
    Numbers,
    json_option,
    recipe_words,
    show,
)
from decametre.cli.recipe_arguments import recipe_options


@click.command("scaling")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True)
@recipe_options
@click.option(
    "--ranks",
    type=Numbers(),
    default="1,2",
    show_default=True,
    help="How many processes to start here; one is always measured. Under torchrun or srun none is "
    "started, and this is of no effect.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Steps that each measurement takes.",
)
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each measurement is taken, numbers of ranks in turn.",
)
@click.option(
    "--latency",
    type=FiniteRange(min=0),
    default=5.0,
    show_default=True,
    help="Of the model: microseconds of a hop from rank to rank.",
)
@click.option(
    "--bandwidth",
    type=FiniteRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Of the model: GB/s of each link.",
)
@click.option(
    "--overlap",
    type=FiniteRange(min=0, max=1),
    default=0.5,
    show_default=True,
    help="Of the model: share of the exchange that can run during back-propagation.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to add to measured.csv, and to write tables and figure of all that is in it.",
)
@json_option
def scaling_bench(
    recipes: tuple[str, ...],
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    ranks: list[int],
    steps: int,
    repeat: int,
    latency: float,
    bandwidth: float,
    overlap: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure how much faster the training of each RECIPE is on more ranks.

    Weak scaling: each rank takes the recipe's batch. Strong scaling: the ranks share it. What 4 to
    1024 ranks would do is told by a model, from the speed of one and the options of an
    interconnect; it is marked as such everywhere.
    """
    from decametre.bench import scaling as measuring
    from decametre.bench.hardware import resolve_precision
    from decametre.bench.scaling_model import Interconnect
    from decametre.bench.scaling_output import write_report
    from decametre.bench.scaling_report import ScalingReport
    from decametre.recipes.reading import read_recipe
    from decametre.training.launcher import read_rank_info

    checked = [read_recipe(name, dict(settings), train_on, validate_on) for name in recipes]
    place = read_rank_info()
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as chosen:
        folder = Path(chosen)
        if place.address:
            if place.rank:
                logging.getLogger("decametre").setLevel(logging.ERROR)
            measuring.measure_here(checked, folder, place, device, precision, steps, repeat)
        else:
            words = [*recipes, "--device", device, "--steps", str(steps), "--repeat", "1"]
            words += ["--precision", resolve_precision(precision, device)]
            words += recipe_words(train_on, validate_on, settings)
            measuring.measure_in_turn(sorted({1, *ranks}), repeat, folder, words)
        if place.rank:
            return
        interconnect = Interconnect(latency * 1e-6, bandwidth * 1e9, overlap)
        report = ScalingReport(measuring.read_measurements(folder), interconnect)
        write_report(report, folder)
    show(report, as_json)
