"""`decametre bench`: speed, measured here and now."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from decametre.bench import sharpen as sharpen_bench
from decametre.cli.arguments import product_argument
from decametre.cli.recipe_arguments import recipe_arguments
from decametre.inference.pipeline import DEFAULT_TILE


def cache_folder() -> Path:
    """Where made products are kept: $XDG_CACHE_HOME/decametre."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "decametre" / "bench"


@click.group()
def bench() -> None:
    """Measure throughput on products of full size."""


@bench.command()
@product_argument
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=cache_folder,
    help="Where the made product is kept.",
)
@click.option(
    "--size",
    type=click.IntRange(min=720),
    default=sharpen_bench.FULL_SIZE,
    show_default=True,
    help="Rows and columns at 10 m, a multiple of 6.",
)
@click.option(
    "--tile",
    type=click.IntRange(min=60),
    default=DEFAULT_TILE,
    show_default=True,
    help="Edge in 10 m pixels of what is computed at once.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def sharpen(product: str, cache: Path, size: int, tile: int, as_json: bool) -> None:
    """Sharpen a full tile made by mirroring PRODUCT, and measure each stage.

    The tile is made once and kept; it takes about 1 GB, and the run 6 GB more.
    """
    if size % 6:
        raise click.BadParameter(f"{size} is no multiple of 6", param_hint="--size")
    report = sharpen_bench.run(product, cache, size, tile)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())


@bench.command()
@recipe_arguments
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Batches that each measurement takes.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def train(
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
    from decametre.bench import train as train_bench
    from decametre.training.recipe import read_recipe

    checked = read_recipe(recipe, dict(settings), train_on, validate_on)
    report = train_bench.run(checked, steps, device, precision)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())
