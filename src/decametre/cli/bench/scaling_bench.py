"""`decametre bench scaling`: training on more and more ranks."""

from __future__ import annotations

import logging
import tempfile
from contextlib import nullcontext
from pathlib import Path

import click

from decametre.bench.options import ScalingBenchOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options
from decametre.options import words_of

INTERCONNECT = ("latency", "bandwidth", "overlap")
"""Options of the model, which measurements do not have."""


@click.command("scaling")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True)
@options(ScalingBenchOptions)
@json_option
def scaling_bench(recipes: tuple[str, ...], options: ScalingBenchOptions, as_json: bool) -> None:
    """Measure how much faster the training of each RECIPE is on more ranks.

    Weak scaling: each rank takes the recipe's batch. Strong scaling: the ranks share it. The speed
    of 4 to 1024 ranks is estimated by a model, from the speed of one rank and the properties of an
    interconnect, and is marked as an estimate.
    """
    from decametre.bench import scaling as measuring
    from decametre.bench.hardware import resolve_precision
    from decametre.bench.scaling_model import Interconnect
    from decametre.bench.scaling_output import write_report
    from decametre.bench.scaling_report import ScalingReport
    from decametre.recipes.reading import read_recipe
    from decametre.training.launcher import read_rank_info

    checked = [
        read_recipe(name, options.settings, options.train, options.validation) for name in recipes
    ]
    info, steps, repeat = read_rank_info(), options.steps, options.repeat
    with nullcontext(options.out) if options.out else tempfile.TemporaryDirectory() as chosen:
        folder = Path(chosen)
        if info.address:
            if info.rank:
                logging.getLogger("decametre").setLevel(logging.ERROR)
            device, precision = options.device, options.precision
            measuring.measure_here(checked, folder, info, device, precision, steps, repeat)
        else:
            once = options.replaced(
                repeat=1, precision=resolve_precision(options.precision, options.device)
            )
            words = [*recipes, *words_of(once, exclude=("ranks", "out", *INTERCONNECT))]
            measuring.measure_in_turn(sorted({1, *options.ranks}), repeat, folder, words)
        if info.rank:
            return
        interconnect = Interconnect(
            options.latency * 1e-6, options.bandwidth * 1e9, options.overlap
        )
        report = ScalingReport(measuring.read_measurements(folder), interconnect)
        write_report(report, folder)
    show(report, as_json)
