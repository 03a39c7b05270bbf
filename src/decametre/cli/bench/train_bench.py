"""`decametre bench train`: speed of sampling patches and of training on them."""

from __future__ import annotations

import click

from decametre.bench.options import TrainBenchOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options


@click.command("train")
@click.argument("recipe", metavar="RECIPE")
@options(TrainBenchOptions)
@json_option
def train_bench(recipe: str, options: TrainBenchOptions, as_json: bool) -> None:
    """Measure the time to sample patches for RECIPE, to train on them, and to do both at once."""
    from decametre.bench import train as measuring
    from decametre.recipes.reading import read_recipe

    checked = read_recipe(recipe, options.settings, options.train, options.validation)
    report = measuring.run(checked, options.steps, options.device, options.precision)
    show(report, as_json)
