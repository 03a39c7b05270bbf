"""Command groups that import a command when it is used, since torch and GDAL take seconds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from decametre.errors import MissingExtraError
from decametre.extras import check_extra


class LazyGroup(click.Group):
    """A group that imports each command when it is used.

    A command whose optional dependencies are not installed stays in the list. Its help line is the
    command that installs them; running it is an error with the same line.

    Args:
        members: By name of a command, the path of its function, such as
            `decametre.cli.sharpen.sharpen`; in the order in which `--help` lists them.
    """

    def __init__(self, *args: Any, members: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.members = dict(members)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.members)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a name, or None for an unknown one."""
        if name not in self.members:
            return None
        try:
            check_extra(name, f"{ctx.command_path} {name}")
        except MissingExtraError as error:
            return _unavailable(name, error)
        module, _, function = self.members[name].rpartition(".")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command


def _unavailable(name: str, error: MissingExtraError) -> click.Command:
    @click.command(
        name,
        help=str(error),
        short_help=str(error).partition(": ")[2],
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    def report() -> None:
        raise error

    return report
