"""`decametre bench train`: drawing patches against training on them."""

from __future__ import annotations

from typing import Any

import click

from decametre.cli.bench.options import (
    json_option,
    show,
)
from decametre.cli.recipe_arguments import recipe_arguments


@click.command("train")
@recipe_arguments
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Batches that each measurement takes.",
)
@json_option
def train_bench(
    recipe: str,
    train_on: tuple[str, ...],
    validate_on: tuple[str, ...],
    settings: tuple[tuple[str, Any], ...],
    device: str,
    precision: str,
    steps: int,
    as_json: bool,
) -> None:
    """Time drawing patches for RECIPE alone, its optimizer steps alone, and both together."""
    from decametre.bench import train as measuring
    from decametre.recipes.reading import read_recipe

    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    report = measuring.run(checked, steps, device, precision)
    show(report, as_json)
