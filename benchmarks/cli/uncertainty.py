"""`python -m benchmarks uncertainty`: predicted uncertainty compared with errors."""

from __future__ import annotations

import click

from decametre.cli.bench.output import show
from decametre.cli.options import json_option


@click.command("uncertainty")
@click.argument("products", nargs=-1, required=True)
@click.option("--model", default="native_2x", show_default=True, help="Name or folder.")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    default=("mtf", "dsen2", "nominal"),
    show_default=True,
    help="As in `kernels`; repeatable.",
)
@json_option
def uncertainty_bench(
    products: tuple[str, ...], model: str, kernels: tuple[str, ...], as_json: bool
) -> None:
    """Coverage of the intervals of a model on PRODUCTS, degraded by several kernels."""
    from benchmarks import uncertainty as measuring

    show(measuring.run(products, model, kernels), as_json)
