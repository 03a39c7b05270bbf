"""Commands whose modules are loaded when they are asked for: torch and GDAL take seconds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of commands that are imported one by one.

    Args:
        members: The commands, in the order in which people need them, and for each the function's
            place, such as `decametre.cli.sharpen.sharpen`.
    """

    def __init__(self, *args: Any, members: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.members = dict(members)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self.members)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name, or None."""
        if name not in self.members:
            return None
        module, _, function = self.members[name].rpartition(".")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command
