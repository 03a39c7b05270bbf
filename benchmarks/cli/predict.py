"""`python -m benchmarks predict`: land cover over a full tile."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.cli.arguments import product_argument
from decametre.cli.bench.options import cache_option, check_size, json_option, show, size_option


@click.command("predict")
@product_argument
@cache_option
@size_option
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
    product: str, cache: Path, size: int, backbone: str, ways: tuple[str, ...], as_json: bool
) -> None:
    """Map land cover over a full tile made by mirroring PRODUCT: patches/s and memory.

    The tile is made once and kept; it takes about 4 GB.
    """
    from benchmarks import predict as measuring

    check_size(size)
    report = measuring.run(product, cache, size, backbone, ways)
    show(report, as_json)
