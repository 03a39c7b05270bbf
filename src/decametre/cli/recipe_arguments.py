"""RECIPE and its options, for the verbs that train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import yaml

from decametre.choices import PRECISIONS


class Setting(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """KEY=VALUE, the value as in YAML."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a key and a value."""
        key, sign, text = str(value).partition("=")
        if not key or not sign:
            self.fail(f"'{value}' is not KEY=VALUE", param, ctx)
        try:
            return key, yaml.safe_load(text)
        except yaml.YAMLError:
            self.fail(f"'{text}' is not a value in YAML", param, ctx)


RECIPE_OPTIONS = (
    click.option(
        "--train",
        "train_on",
        multiple=True,
        metavar="PRODUCT",
        help="Product, or pattern of paths, to train on; repeatable. In place of the recipe's.",
    ),
    click.option(
        "--validation",
        "validate_on",
        multiple=True,
        metavar="PRODUCT",
        help="Product, or pattern, to choose the weights by; repeatable. In place of the recipe's.",
    ),
    click.option(
        "--set",
        "settings",
        type=Setting(),
        multiple=True,
        metavar="KEY=VALUE",
        help="Another value for a key of the recipe, such as optimization.steps=2000; repeatable.",
    ),
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N"),
    click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True),
)


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What says otherwise than a recipe."""
    for decorate in reversed(RECIPE_OPTIONS):
        command = decorate(command)
    return command


def recipe_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """RECIPE, and what says otherwise than it."""
    return click.argument("recipe", metavar="RECIPE")(recipe_options(command))
