"""`python -m benchmarks fleet`: many small products on two workers, with and without faults."""

from __future__ import annotations

import click

from decametre.bench.options import CacheOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options
from decametre.options import PRECISIONS


@click.command("fleet")
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@options(CacheOptions)
@click.option(
    "--count", type=click.IntRange(min=10), default=40, show_default=True, help="Products."
)
@click.option(
    "--edge",
    type=click.IntRange(min=60),
    default=300,
    show_default=True,
    help="Edge of each product in 10 m pixels, a multiple of 6.",
)
@click.option(
    "--precision",
    type=click.Choice([name for name in PRECISIONS if name != "auto"]),
    default="bfloat16",
    show_default=True,
)
@json_option
def fleet_bench(
    products: tuple[str, ...],
    options: CacheOptions,
    count: int,
    edge: int,
    precision: str,
    as_json: bool,
) -> None:
    """Sharpen small crops of PRODUCTs with a fleet of two workers, and with one process.

    A second run has a corrupt product, one that lacks a band, a killed worker and an interruption.
    """
    from benchmarks import fleet as measuring

    if edge % 6:
        raise click.BadParameter(f"{edge} is no multiple of 6", param_hint="--edge")
    show(measuring.run(products, options.folder, count, edge, precision), as_json)
