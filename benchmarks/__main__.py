"""The command `python -m benchmarks`."""

from __future__ import annotations

import click

from decametre.cli.lazy import LazyGroup
from decametre.cli.main import main

BENCHMARKS = (
    "fleet",
    "bookkeeping",
    "patches",
    "predict",
    "kernels",
    "gpu",
    "offset",
    "uncertainty",
    "fuzz",
    "faults",
)
"""Each is a module of `benchmarks.cli` with a command: `fleet` is `fleet.fleet_bench`."""


@click.group(
    cls=LazyGroup,
    members={name: f"benchmarks.cli.{name}.{name}_bench" for name in BENCHMARKS},
)
def cli() -> None:
    """Benchmarks for the developers of decametre."""


if __name__ == "__main__":
    main(cli)
