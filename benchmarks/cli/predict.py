"""`python -m benchmarks predict`: land cover over a full tile."""

from __future__ import annotations

import click

from decametre.bench.options import TileBenchOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options, product_argument


@click.command("predict")
@product_argument
@options(TileBenchOptions)
@click.option(
    "--backbone",
    default="resnet50",
    show_default=True,
    help="timm's name of the network's backbone; its weights are random.",
)
@click.option(
    "--input",
    "inputs",
    type=click.Choice(["measured", "tile", "on-the-way"]),
    multiple=True,
    default=("measured", "tile", "on-the-way"),
    show_default="all",
    help="Input of the network: bands as measured, bands of a sharpened tile, or bands that "
    "`predict` sharpens itself; repeatable.",
)
@json_option
def predict_bench(
    product: str, options: TileBenchOptions, backbone: str, inputs: tuple[str, ...], as_json: bool
) -> None:
    """Map the land cover of a full tile made by mirroring PRODUCT: patches/s and memory.

    The tile is made once and kept; it takes about 4 GB.
    """
    from benchmarks import predict as measuring

    report = measuring.run(product, options.folder, options.size, backbone, inputs)
    show(report, as_json)
