"""`python -m benchmarks bookkeeping`: the overhead of a fleet with 100,000 products."""

from __future__ import annotations

import click

from decametre.bench.options import CacheOptions
from decametre.cli.bench.output import show
from decametre.cli.options import json_option, options


@click.command("bookkeeping")
@options(CacheOptions)
@click.option(
    "--count", type=click.IntRange(min=100), default=100_000, show_default=True, help="Products."
)
@json_option
def bookkeeping_bench(options: CacheOptions, count: int, as_json: bool) -> None:
    """Measure the overhead of a fleet of two workers: three runs over products without pixels.

    The results (about 30 kB per product) are removed.
    """
    from benchmarks import bookkeeping as measuring

    show(measuring.run(count, options.folder), as_json)
