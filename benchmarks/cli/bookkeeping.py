"""`python -m benchmarks bookkeeping`: a fleet over 100,000 products that are no work."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.cli.bench.options import cache_option, json_option, show


@click.command("bookkeeping")
@cache_option
@click.option(
    "--count", type=click.IntRange(min=100), default=100_000, show_default=True, help="Products."
)
@json_option
def bookkeeping_bench(cache: Path, count: int, as_json: bool) -> None:
    """Have a fleet of two workers do nothing but the bookkeeping, and start it again twice.

    What it writes (about 30 kB a product) is removed.
    """
    from benchmarks import bookkeeping as measuring

    show(measuring.run(count, cache), as_json)
