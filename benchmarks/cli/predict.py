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
    help="Of the network, by timm's name; its weights are random.",
)
@click.option(
    "--way",
    "ways",
    type=click.Choice(["measured", "tile", "on-the-way"]),
    multiple=True,
    default=("measured", "tile", "on-the-way"),
    show_default="all",
    help="What the network sees: bands as measured, those of a tile that has been sharpened, or "
    "sharpened on the way; repeatable.",
)
@json_option
def predict_bench(
    product: str, options: TileBenchOptions, backbone: str, ways: tuple[str, ...], as_json: bool
) -> None:
    """Map land cover over a full tile made by mirroring PRODUCT: patches/s and memory.

    The tile is made once and kept; it takes about 4 GB.
    """
    from benchmarks import predict as measuring

    report = measuring.run(product, options.folder, options.size, backbone, ways)
    show(report, as_json)
