"""`python -m benchmarks offset`: the check of the radiometric offset on products."""

from __future__ import annotations

import click


@click.command("offset")
@click.argument("products", nargs=-1, required=True)
def offset_bench(products: tuple[str, ...]) -> None:
    """Check PRODUCTS with their own offset and with offsets that are wrong by 0.1."""
    from benchmarks import offset as measuring

    click.echo(measuring.table(measuring.score_offsets(products)))
