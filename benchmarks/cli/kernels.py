"""`python -m benchmarks kernels`: the error of models under several degradation kernels."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.cli.bench.output import show
from decametre.cli.options import json_option


@click.command("kernels")
@click.argument("products", nargs=-1, required=True)
@click.option("--scale", type=click.Choice(["2", "6"]), default="2", show_default=True)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    default=("dsen2", "mtf", "nominal", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"),
    show_default=True,
    help="dsen2, mtf, nominal (a Gaussian of each band's nominal gain), or the gain of a Gaussian "
    "at the coarse Nyquist frequency; repeatable.",
)
@click.option("--model", "models", multiple=True, help="Name or folder; repeatable.")
@click.option(
    "--dsen2",
    "dsen2_weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the published DSen2 networks in TorchScript.",
)
@json_option
def kernels_bench(
    products: tuple[str, ...],
    scale: str,
    kernels: tuple[str, ...],
    models: tuple[str, ...],
    dsen2_weights: Path | None,
    as_json: bool,
) -> None:
    """RMSE / bicubic of models on PRODUCTS, degraded by several kernels."""
    from benchmarks import kernels as measuring

    show(measuring.run(products, int(scale), kernels, models, dsen2_weights), as_json)
