"""`decametre models`: the shipped models, and models for and from other programs."""

from __future__ import annotations

import click

from decametre.cli.lazy import LazyGroup

MEMBERS = {
    "show": "decametre.cli.models.show.show",
    "export": "decametre.cli.models.export.export",
    "import": "decametre.cli.models.import_model.import_model",
}


class _ShowsByDefault(LazyGroup):
    """A group whose command `show` may be omitted."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `show` if the first argument is not a subcommand."""
        if not args or (args[0] not in self.members and args[0] not in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowsByDefault, members=MEMBERS)
def models() -> None:
    """List the shipped models, and exchange models with other programs.

    `decametre models` alone lists the models, `decametre models NAME` shows one of them.
    """
