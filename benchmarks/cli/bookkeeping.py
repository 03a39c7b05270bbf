"""`python -m benchmarks bookkeeping`: a fleet over 100,000 products that are no work."""

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
    """Have a fleet of two workers do nothing but the bookkeeping, and start it again twice.

    What it writes (about 30 kB a product) is removed.
    """
    from benchmarks import bookkeeping as measuring

    show(measuring.run(count, options.folder), as_json)
