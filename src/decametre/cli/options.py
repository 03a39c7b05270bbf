"""Options of the command line, made from the models that declare them."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from decametre.api.keywords import ON_COMMAND_LINE
from decametre.errors import OptionError
from decametre.options import Options, Text, flag_of, metadata_of, text_of, unwrapped

Command = Callable[..., Any]

product_argument = click.argument("product", metavar="PRODUCT")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to standard output."
)


def options(
    model: type[Options], into: str = "options", exclude: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Give a command the options of a model; the command receives them as one object.

    Args:
        model: Declares the options.
        into: Name of the command's parameter that takes the object.
        exclude: Fields that the command does not have.
    """
    fields = {name: f for name, f in model.model_fields.items() if name not in exclude}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            given = {name: values.pop(name) for name in fields}
            on_command_line = ON_COMMAND_LINE.set(True)
            try:
                return command(**values, **{into: _checked(model, fields, given)})
            finally:
                ON_COMMAND_LINE.reset(on_command_line)

        for name, field in reversed(fields.items()):
            call = click.option(*_declared(name, field), **_attributes(field, fields))(call)
        return call

    return decorate


def _checked(
    model: type[Options], fields: Mapping[str, FieldInfo], given: Mapping[str, Any]
) -> Options:
    """The options that were given on the command line, and defaults."""
    values = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if get_origin(unwrapped(fields[name].annotation)[0]) is dict:
            value = _mapping(name, fields[name], value)
        values[name] = value
    try:
        return model(**values)
    except OptionError as error:
        flag = flag_of(error.name, fields[error.name]) if error.name in fields else None
        problem = _with_flags(error.problem, fields)
        raise click.BadParameter(problem, param_hint=flag) from error


def _mapping(name: str, field: FieldInfo, pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None and text_of(field).unique:
        raise click.BadParameter(f"'{twice}' is given twice", param_hint=flag_of(name, field))
    return dict(pairs)


def _declared(name: str, field: FieldInfo) -> tuple[str, str]:
    flag = flag_of(name, field)
    return (f"{flag}/--no-{flag[2:]}" if field.default is True else flag), name


def _attributes(field: FieldInfo, fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Keyword arguments of `click.option`."""
    kind, text = unwrapped(field.annotation)[0], text_of(field)
    attributes: dict[str, Any] = {
        "help": _help(field, fields),
        "show_default": text.default or field.default not in (None, (), False),
        "required": field.is_required(),
    }
    if isinstance(field.default, tuple) and field.default and not text.default:
        attributes["show_default"] = ",".join(map(str, field.default))
    if kind is bool:
        return attributes | {"is_flag": True, "default": field.default}
    if text.repeatable and get_origin(kind) in (tuple, dict):
        attributes["multiple"] = True
        kind = get_args(kind)[0 if get_origin(kind) is tuple else 1]
    if isinstance(field.default, str | int | float):
        attributes["default"] = field.default
    return attributes | {"type": _click_type(kind, field, text), "metavar": text.metavar}


def _click_type(kind: Any, field: FieldInfo, text: Text) -> click.ParamType:  # type: ignore[type-arg]  # generic from click 8.5 on
    kind, _ = unwrapped(kind)
    if text.parse is not None:
        return _Parsed(text.parse, text.metavar or "TEXT")
    if get_origin(kind) is Literal:
        return _LiteralChoice(get_args(kind))
    if kind in (int, float):
        limits = dict(_limits(field))
        return click.IntRange(**limits) if kind is int else FiniteRange(**limits)
    if kind is Path:
        return click.Path(path_type=Path)
    return click.STRING


def _limits(field: FieldInfo) -> Iterator[tuple[str, Any]]:
    for each in metadata_of(field):
        if isinstance(each, Ge | Gt):
            yield "min", each.ge if isinstance(each, Ge) else each.gt
            yield "min_open", isinstance(each, Gt)
        if isinstance(each, Le | Lt):
            yield "max", each.le if isinstance(each, Le) else each.lt
            yield "max_open", isinstance(each, Lt)


def _help(field: FieldInfo, fields: Mapping[str, FieldInfo]) -> str:
    """The description, with other options written as on the command line."""
    text = _with_flags(inspect.cleandoc(field.description or ""), fields)
    repeatable = text_of(field).repeatable
    repeated = get_origin(unwrapped(field.annotation)[0]) in (tuple, dict) and repeatable
    return " ".join(text.split()) + (" Repeatable." if repeated else "")


def _with_flags(text: str, fields: Mapping[str, FieldInfo]) -> str:
    """A text in which fields in backticks are written as on the command line."""

    def written(match: re.Match[str]) -> str:
        name = match[1]
        return flag_of(name, fields[name]) if name in fields else match[0]

    return re.sub(r"`(\w+)`", written, text)


class FiniteRange(click.FloatRange):
    """A finite number in a range; click itself accepts `nan` in every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Text to a number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number


class _LiteralChoice(click.Choice):  # type: ignore[type-arg]  # generic from click 8.2 on
    """The choices of a `Literal`, which may be numbers."""

    def __init__(self, choices: tuple[Any, ...]) -> None:
        super().__init__([str(choice) for choice in choices])
        self.values = {str(choice): choice for choice in choices}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a choice."""
        return self.values[super().convert(str(value), param, ctx)]


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Text that a function parses."""

    def __init__(self, parse: Callable[[str], Any], name: str) -> None:
        self.parse, self.name = parse, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a value."""
        try:
            return self.parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)
