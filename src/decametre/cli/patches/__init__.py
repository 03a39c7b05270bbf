"""`decametre patches`: stores of labelled patches. One file a subcommand."""

from __future__ import annotations

import click

from decametre.cli.lazy import LazyGroup

SUBCOMMANDS = ("extract", "label", "plan", "import", "merge", "info")
"""Each is a module of this package, with its command: `import_patches.import_patches`."""


@click.group(
    cls=LazyGroup,
    members={name: f"decametre.cli.patches.{name}_patches.{name}_patches" for name in SUBCOMMANDS},
)
def patches() -> None:
    """Make, merge and describe stores of labelled patches."""
