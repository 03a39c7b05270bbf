"""`decametre train`: a recipe and products in, a model folder out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import yaml

from decametre import api
from decametre.cli.console import progress_of
from decametre.inference.device import PRECISIONS

log = logging.getLogger(__name__)


class Setting(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """KEY=VALUE, the value as in YAML."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a key and a value."""
        key, sign, text = str(value).partition("=")
        if not key or not sign:
            self.fail(f"'{value}' is not KEY=VALUE", param, ctx)
        try:
            return key, yaml.safe_load(text)
        except yaml.YAMLError:
            self.fail(f"'{text}' is not a value in YAML", param, ctx)


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--train",
    "train_on",
    multiple=True,
    metavar="PRODUCT",
    help="Product, or pattern of paths, to train on; repeatable. In place of the recipe's.",
)
@click.option(
    "--validation",
    "validate_on",
    multiple=True,
    metavar="PRODUCT",
    help="Product, or pattern, to choose the weights by; repeatable. In place of the recipe's.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The run's folder; the recipe's name without. A run that stopped there goes on.",
)
@click.option("--init", metavar="MODEL", help="Start from the weights of a model or model folder.")
@click.option(
    "--set",
    "settings",
    type=Setting(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value for a key of the recipe, such as optimization.steps=2000; repeatable.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N")
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
def train(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    out: Path | None,
    init: str | None,
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
) -> None:
    """Train the network of RECIPE: a YAML file, or the name of a shipped recipe.

    The folder that it leaves is a model: `decametre sharpen PRODUCT OUTPUT.tif --model FOLDER`.
    """
    with progress_of(f"training {recipe}", "steps", "samples") as progress:
        result = api.train(
            recipe,
            out,
            train=train_on,
            validation=validate_on,
            init=init,
            settings=dict(settings),
            device=device,
            precision=precision,
            progress=progress,
        )
    log.info("%s: %s", result.folder, result.summary())
