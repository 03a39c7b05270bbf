"""`decametre patches`: stores of labelled patches. One file a subcommand."""

from __future__ import annotations

import importlib

import click

SUBCOMMANDS = ("extract", "label", "plan", "import", "merge", "info")
"""Each is a module of this package, with a command of its name: `import` is `import_patches`."""


class Subcommands(click.Group):
    """Loads a subcommand's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands, in the order in which people need them."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name, or None."""
        if name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"decametre.cli.patches.{name}_patches")
        command = getattr(module, f"{name}_patches")
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Subcommands)
def patches() -> None:
    """Make, merge and describe stores of labelled patches."""
