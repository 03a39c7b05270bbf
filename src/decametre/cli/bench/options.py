"""Options and arguments that several benches have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import click

from decametre.choices import FULL_SIZE


def cache_folder() -> Path:
    """Where made products are kept: $XDG_CACHE_HOME/decametre."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "decametre" / "bench"


cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=cache_folder,
    help="Where the made product, and what is made of it, is kept.",
)

size_option = click.option(
    "--size",
    type=click.IntRange(min=720),
    default=FULL_SIZE,
    show_default=True,
    help="Rows and columns at 10 m, a multiple of 6.",
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output."
)


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Whole numbers from 1, between commas."""

    name = "N,N..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to numbers."""
        parts = str(value).split(",")
        if not all(part.isdecimal() and int(part) for part in parts):
            self.fail(f"'{value}' is not a list of numbers such as 1,2,4", param, ctx)
        return [int(part) for part in parts]


def check_size(size: int) -> None:
    """Refuse a tile that is not a whole number of 60 m pixels.

    Raises:
        click.BadParameter: It is not.
    """
    if size % 6:
        raise click.BadParameter(f"{size} is no multiple of 6", param_hint="--size")


def recipe_words(
    train_on: Iterable[str], validate_on: Iterable[str], settings: Iterable[tuple[str, Any]]
) -> list[str]:
    """A recipe's options as words of a command line."""
    words = []
    for option, values in (("--train", train_on), ("--validation", validate_on)):
        words += [word for value in values for word in (option, value)]
    for key, value in settings:
        words += ["--set", f"{key}={json.dumps(value)}"]
    return words


class Report(Protocol):
    """What a bench found."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        ...

    def table(self) -> str:
        """As a table in Markdown."""
        ...


def show(report: Report, as_json: bool) -> None:
    """Print what a bench found."""
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())
