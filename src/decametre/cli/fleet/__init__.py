"""`decametre fleet`: many products on many workers. One file a subcommand."""

from __future__ import annotations

import click

from decametre.cli.lazy import LazyGroup

SUBCOMMANDS = ("sharpen", "extract", "predict", "status", "report", "plan")
"""Each is a module of this package, with a command of the same name."""


@click.group(
    cls=LazyGroup,
    members={name: f"decametre.cli.fleet.{name}.{name}" for name in SUBCOMMANDS},
)
def fleet() -> None:
    """Have many products done, on one machine or on a cluster, and see how far that is."""
