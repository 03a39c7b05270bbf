"""`decametre bench`: speed, measured here and now. One file a bench."""

from __future__ import annotations

import click

from decametre.cli.lazy import LazyGroup

BENCHES = ("sharpen", "train", "scaling", "balance")
"""Each is a module of this package with its command: `train` is `train_bench.train_bench`."""


@click.group(
    cls=LazyGroup,
    members={name: f"decametre.cli.bench.{name}_bench.{name}_bench" for name in BENCHES},
)
def bench() -> None:
    """Measure throughput on products of full size."""
