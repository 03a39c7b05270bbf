"""`decametre train`: a recipe and products in, a model folder out."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from decametre import api
from decametre.cli.console import progress_of
from decametre.cli.recipe_arguments import recipe_arguments
from decametre.recipes.reading import find_recipe
from decametre.training.launcher import read_rank_info

log = logging.getLogger(__name__)


@click.command()
@recipe_arguments
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The run's folder; the recipe's name without. A run that stopped there goes on.",
)
@click.option("--init", metavar="MODEL", help="Start from the weights of a model or model folder.")
@click.option(
    "--resume",
    default="auto",
    show_default=True,
    metavar="auto|never|CHECKPOINT",
    help="Go on from the newest checkpoint in the run's folder, from none, or from this one.",
)
@click.option("--show", is_flag=True, help="Print the recipe, and train nothing.")
def train(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    out: Path | None,
    init: str | None,
    resume: str,
    show: bool,
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
) -> None:
    """Train the network of RECIPE: a YAML file, or the name of a shipped recipe.

    The folder that it leaves is a model: `decametre sharpen PRODUCT OUTPUT.tif --model FOLDER`.
    """
    if show:
        click.echo(find_recipe(recipe)[1], nl=False)
        return
    talks = read_rank_info().rank == 0  # the others only say why they fail
    if not talks:
        logging.getLogger("decametre").setLevel(logging.ERROR)
    with ExitStack() as shown:
        progress = (
            shown.enter_context(progress_of(f"training {recipe}", "steps", "samples"))
            if talks
            else lambda done, total, samples: None
        )
        result = api.train(
            recipe,
            out,
            train=train_on,
            validation=validate_on,
            init=init,
            settings=dict(settings),
            device=device,
            precision=precision,
            resume=resume,
            progress=progress,
        )
    log.info("%s: %s", result.folder, result.summary())
