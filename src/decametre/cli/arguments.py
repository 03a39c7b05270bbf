"""Arguments that several verbs share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def together(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Arguments and options that several commands share, as one decorator, in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


product_argument = click.argument("product", metavar="PRODUCT")

offset_option = click.option(
    "--offset",
    default="auto",
    show_default=True,
    metavar="auto|none|VALUE",
    help="Radiometric offset: as the product says, none, or a number of DN such as -1000.",
)


class FiniteRange(click.FloatRange):
    """A finite number in a range. To click, `nan` lies in every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Text to a number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number


class NumberList(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Numbers separated by commas, as many as the form names.

    Args:
        form: What is expected, such as `COL,ROW,WIDTH,HEIGHT`.
        number: `int` or `float`.
    """

    def __init__(self, form: str, number: Callable[[str], int | float]) -> None:
        self.name = form
        self.number = number

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The form, in the help text."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a tuple of numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.number(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(self.name.split(",")):
            self.fail(f"'{value}' is not {self.name}", param, ctx)
        return numbers
