"""Keyword arguments of Python functions, made from the models that declare options."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from decametre.errors import DecametreError, OptionError, UnknownNameError
from decametre.options import Options, accepted, flag_of, unwrapped

T = TypeVar("T")

_POSITIONAL, _KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
_MISSING = inspect.Parameter.empty

ON_COMMAND_LINE: ContextVar[bool] = ContextVar("on_command_line", default=False)
"""Whether the command line calls the functions; then errors name `--overwrite`, not `overwrite`."""


def takes(
    model: type[Options],
    *,
    positional: Collection[str] = (),
    exclude: Collection[str] = (),
    into: str = "options",
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Let a function that takes an options object take each option by keyword, too.

    `f(x, options)` becomes `f(x, *, a=..., b=..., options=None)`. Where both are given, the
    keywords replace fields of the object. Signature and docstring list all keywords.

    Args:
        model: Declares the options.
        positional: Fields that may also be passed by position, after the function's own.
        exclude: Fields that the function does not take.
        into: Name of the parameter that takes the object.

    Raises:
        UnknownNameError: On a call, an argument is unknown; the message proposes one.
        OptionError: On a call, a value is wrong, or missing.
    """
    fields = {name: f for name, f in model.model_fields.items() if name not in exclude}

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        signature = _signature(function, model, fields, positional, into)

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> T:
            for name in keywords:
                if name not in signature.parameters:
                    kind = f"argument of {function.__name__}()"
                    raise UnknownNameError(kind, name, signature.parameters)
            given = signature.bind_partial(*args, **keywords).arguments
            options = given.pop(into, None)
            chosen = {name: given.pop(name) for name in fields if name in given}
            if options is None:
                options = model(**chosen)
            else:
                _refuse(options, exclude)
                options = options.replaced(**chosen)
            try:
                return function(**given, **{into: options})
            except DecametreError as error:
                if not ON_COMMAND_LINE.get():
                    error.args = (in_python_terms(str(error), fields),)
                raise

        call.__signature__ = signature  # type: ignore[attr-defined]  # inspect looks there
        call.__doc__ = _documented(function.__doc__, fields, model, into)
        return call

    return decorate


def in_python_terms(message: str, fields: Mapping[str, FieldInfo]) -> str:
    """A message with options of the command line as arguments: `--overwrite` as `overwrite=True`.

    Args:
        message: The message; options that are not among the fields are unchanged.
        fields: The options, by argument.
    """
    arguments: dict[str, str] = {}
    for name, field in fields.items():
        flag = flag_of(name, field)
        if unwrapped(field.annotation)[0] is bool:
            arguments |= {flag: f"{name}=True", f"--no-{flag[2:]}": f"{name}=False"}
        else:
            arguments[flag] = name
    return re.sub(r"--[a-z][a-z0-9-]*", lambda m: arguments.get(m[0], m[0]), message)


def _refuse(options: Options, excluded: Collection[str]) -> None:
    """Refuse an options object with an option that the function would ignore."""
    for name in sorted(options.model_fields_set.intersection(excluded)):
        if getattr(options, name) != type(options).model_fields[name].default:
            raise OptionError(name, "cannot be used here")


def _signature(
    function: Callable[..., Any],
    model: type[Options],
    fields: dict[str, FieldInfo],
    positional: Collection[str],
    into: str,
) -> inspect.Signature:
    own = [p for p in inspect.signature(function).parameters.values() if p.name != into]
    made = [
        inspect.Parameter(
            name,
            _POSITIONAL if name in positional else _KEYWORD,
            default=_MISSING if field.is_required() else field.default,
            annotation=accepted(field),
        )
        for name, field in fields.items()
    ]
    made.append(
        inspect.Parameter(into, _KEYWORD, default=None, annotation=f"{model.__name__} | None")
    )
    # Own arguments by position, options by position, options by keyword, own ones by keyword.
    ordered = [
        *(p for p in own if p.kind is _POSITIONAL),
        *sorted(made, key=lambda p: (p.kind, p.kind is _POSITIONAL and p.default is not _MISSING)),
        *(p for p in own if p.kind is _KEYWORD),
    ]
    return inspect.Signature(
        ordered, return_annotation=inspect.signature(function).return_annotation
    )


def _documented(
    docstring: str | None, fields: dict[str, FieldInfo], model: type[Options], into: str
) -> str | None:
    """The docstring with the options at the end of its section `Args:`."""
    if docstring is None:  # python -OO
        return None
    head, args, tail = inspect.cleandoc(docstring).partition("Args:\n")
    own, _, rest = tail.partition("\n\n")
    lines = [own.rstrip(), *_described(fields)]
    lines.append(f"    {into}: All of these in one object; keywords replace its values.")
    return f"{head}{args}" + "\n".join(lines) + (f"\n\n{rest}" if rest else "\n")


def _described(fields: dict[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        text = f"{name}: {' '.join((field.description or '').split())}"
        yield textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="        ")
