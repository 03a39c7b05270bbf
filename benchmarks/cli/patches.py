"""`python -m benchmarks patches`: cutting patches from a full tile."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.cli.arguments import product_argument
from decametre.cli.bench.options import (
    cache_option,
    check_size,
    json_option,
    show,
    size_option,
)


@click.command("patches")
@product_argument
@cache_option
@size_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Processes that cut patches.",
)
@json_option
def patches_bench(product: str, cache: Path, size: int, workers: int, as_json: bool) -> None:
    """Cut patches from a full tile made by mirroring PRODUCT: patches/s and memory.

    The tile is made once and kept; it takes about 4 GB, and the run 5 GB more.
    """
    from benchmarks import patches as measuring

    check_size(size)
    report = measuring.run(product, cache, size, workers)
    show(report, as_json)
