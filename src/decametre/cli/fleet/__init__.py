"""`decametre fleet`: many products on many workers. Each subcommand has its own module."""

from __future__ import annotations

import click

from decametre.cli.lazy import LazyGroup

SUBCOMMANDS = ("sharpen", "extract", "predict", "status", "report", "plan")
"""Modules of this package, each with a command of the same name."""


@click.group(
    cls=LazyGroup,
    members={name: f"decametre.cli.fleet.{name}.{name}" for name in SUBCOMMANDS},
)
def fleet() -> None:
    """Process many products on one machine or on a cluster, and show the progress."""
