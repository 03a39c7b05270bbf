"""`decametre bench sharpen`: sharpening a full tile, stage by stage."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.choices import DEFAULT_TILE
from decametre.cli.arguments import product_argument
from decametre.cli.bench.options import (
    cache_option,
    check_size,
    json_option,
    show,
    size_option,
)


@click.command("sharpen")
@product_argument
@cache_option
@size_option
@click.option(
    "--tile",
    type=click.IntRange(min=60),
    default=DEFAULT_TILE,
    show_default=True,
    help="Edge in 10 m pixels of what is computed at once.",
)
@json_option
def sharpen_bench(product: str, cache: Path, size: int, tile: int, as_json: bool) -> None:
    """Sharpen a full tile made by mirroring PRODUCT, and measure each stage.

    The tile is made once and kept; it takes about 1 GB, and the run 6 GB more.
    """
    from decametre.bench import sharpen as measuring

    check_size(size)
    report = measuring.run(product, cache, size, tile)
    show(report, as_json)
