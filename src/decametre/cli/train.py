"""`decametre train`: train a network and write a model folder."""

from __future__ import annotations

import logging

import click

import decametre
from decametre.cli.console import progress_of_first_rank
from decametre.cli.options import options
from decametre.recipes.options import TrainOptions

log = logging.getLogger(__name__)


@click.command()
@click.argument("recipe", metavar="RECIPE")
@options(TrainOptions)
@click.option("--show", is_flag=True, help="Print the recipe and exit.")
def train(recipe: str, options: TrainOptions, show: bool) -> None:
    """Train the network of RECIPE: a YAML file, or the name of a shipped recipe.

    The resulting folder is a model: `decametre sharpen PRODUCT OUTPUT.tif --model FOLDER`.
    """
    if show:
        from decametre.recipes.reading import find_recipe

        click.echo(find_recipe(recipe)[1], nl=False)
        return
    with progress_of_first_rank(f"training {recipe}", "steps", "samples") as (_, progress):
        result = decametre.train(recipe, options=options, progress=progress)
    log.info("%s: %s", result.folder, result.summary())
