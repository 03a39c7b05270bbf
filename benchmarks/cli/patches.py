"""`python -m benchmarks patches`: extracting patches from a full tile."""

from __future__ import annotations

import click

from decametre.bench.options import TileBenchOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options, product_argument


@click.command("patches")
@product_argument
@options(TileBenchOptions)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Processes that cut patches.",
)
@json_option
def patches_bench(product: str, options: TileBenchOptions, workers: int, as_json: bool) -> None:
    """Extract patches from a full tile made by mirroring PRODUCT: patches/s and memory.

    The tile is made once and kept; it takes about 4 GB, and the run another 5 GB.
    """
    from benchmarks import patches as measuring

    report = measuring.run(product, options.folder, options.size, workers)
    show(report, as_json)
