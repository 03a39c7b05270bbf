"""One declaration for each option: name, type, default, checks and help.

The options of a verb are one frozen pydantic model, such as
`decametre.superres.sharpening.options.SharpenOptions`. Three things are made from it: the options
of the command line (`decametre.cli.options`), the keyword arguments of the Python function
(`decametre.api.keywords`) and the settings that a fleet sends to its workers. The docstring below a
field is its help text everywhere; a `` `name` `` in it stands for another option.

This module holds the base class, and the types of options that several verbs have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from decametre.errors import OptionError, UnknownNameError

Kernel = Literal["dsen2", "mtf"]
"""Degradation kernels, see `decametre.superres.degradation.kernels`."""

KERNELS: tuple[Kernel, ...] = get_args(Kernel)

DRAWN = "drawn"
"""In recipes: a kernel drawn at random for each patch."""

PRECISIONS = ("auto", "float32", "bfloat16")
"""Number formats of networks."""

Norm = Literal["merged", "synchronised", "group", "frozen"]
"""Normalization layers of land-cover networks, see `decametre.training.batch_norm`."""

Resampling = Literal["bilinear", "nearest"]
"""How land-cover networks bring coarser bands to 10 m."""

DEFAULT_TILE = 1380
"""Edge of the square computed at a time, in 10 m pixels; margins add 20 to 40 % to its pixels."""

FULL_SIZE = 10980
"""Rows and columns of a Sentinel-2 tile at 10 m."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Text:
    """How an option is written on the command line, where its type does not say it.

    Attributes:
        metavar: Placeholder of the value in the help text, such as `COL,ROW,WIDTH,HEIGHT`.
        parse: Makes the value, or one element of a repeatable option, from text; raises
            `ValueError` with the reason.
        default: Describes a default value that has no short form.
        flag: Name of the option, where it is not the name of the field.
        repeatable: Whether a tuple or mapping is filled by giving the option several times.
        unique: Whether a key may be given once only, for a mapping.
    """

    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    default: str | None = None
    flag: str | None = None
    repeatable: bool = True
    unique: bool = False


@dataclass(frozen=True)
class Accepts:
    """The type that Python users may pass, where it is wider than the type of the field."""

    annotation: str


class Options(BaseModel):
    """Base of all options: frozen, strict, with errors of one line.

    Raises:
        UnknownNameError: There is no option or choice of this name; the message proposes one.
        OptionError: A value has the wrong type or is out of range, or a required one is missing.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def __init__(self, **values: Any) -> None:
        # numpy's scalars count as Python's.
        plain = {key: v.item() if type(v).__module__ == "numpy" else v for key, v in values.items()}
        try:
            super().__init__(**plain)
        except ValidationError as error:
            raise _in_one_line(type(self), error) from None

    def replaced(self, **changes: Any) -> Any:
        """The same options with other values, which are checked."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**given | changes)


def _in_one_line(model: type[Options], error: ValidationError) -> OptionError | UnknownNameError:
    fault = error.errors()[0]
    name = str(fault["loc"][0]) if fault["loc"] else ""
    if fault["type"] == "extra_forbidden":
        return UnknownNameError("option", name, model.model_fields)
    if fault["type"] == "missing":
        return OptionError(name, "is required")
    if fault["type"] == "literal_error":
        choices = get_args(unwrapped(model.model_fields[name].annotation)[0])
        return UnknownNameError(name, str(fault["input"]), map(str, choices))
    if fault["type"] == "value_error":
        return OptionError(name, str(fault["ctx"]["error"]))
    return OptionError(
        name, f"{fault['msg'].replace('Input should', 'must')}, not {fault['input']!r:.60}"
    )


def unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without `Annotated` and `| None`, and the metadata of both."""
    if get_origin(annotation) is Annotated:
        inner, metadata = unwrapped(annotation.__origin__)
        return inner, (*metadata, *annotation.__metadata__)
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        if len(kinds) == 1:
            return unwrapped(kinds[0])
    return annotation, ()


def metadata_of(field: FieldInfo) -> tuple[Any, ...]:
    """All metadata of a field; where two are of one class, the later one counts."""
    return (*unwrapped(field.annotation)[1], *field.metadata)


def text_of(field: FieldInfo) -> Text:
    """How a field is written on the command line."""
    return next((m for m in reversed(metadata_of(field)) if isinstance(m, Text)), Text())


def accepted(field: FieldInfo) -> str:
    """The type that Python users may pass for a field, as source code."""
    for each in reversed(metadata_of(field)):
        if isinstance(each, Accepts):
            optional = " | None" if field.default is None and "None" not in each.annotation else ""
            return f"{each.annotation}{optional}"
    return _source(field.annotation)


def _source(annotation: Any) -> str:
    if annotation is NoneType:
        return "None"
    if get_origin(annotation) is Annotated:
        return _source(annotation.__origin__)
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_source, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def flag_of(name: str, field: FieldInfo) -> str:
    """The name of a field on the command line."""
    return text_of(field).flag or f"--{name.replace('_', '-')}"


def words_of(
    options: Options, *, always: Collection[str] = (), exclude: Collection[str] = ()
) -> list[str]:
    """The words of a command line that gives these options.

    Args:
        options: The options.
        always: Fields to write even where they have their default value.
        exclude: Fields not to write.
    """
    words = []
    for name, field in type(options).model_fields.items():
        value, flag = getattr(options, name), flag_of(name, field)
        if name in exclude or (value == field.default and name not in always):
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple) and text_of(field).repeatable:
            words += [word for each in value for word in (flag, str(each))]
        elif isinstance(value, tuple):
            words += [flag, ",".join(map(str, value))]
        elif isinstance(value, dict):
            pairs = [f"{key}={json.dumps(each)}" for key, each in value.items()]
            words += [word for pair in pairs for word in (flag, pair)]
        else:
            words += [flag, str(value)]
    return words


# Values of several forms ---------------------------------------------------------------------


def _several(value: Any) -> Any:
    """A tuple of one or several values."""
    if isinstance(value, str | os.PathLike):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) else value


def _path(value: Any) -> Any:
    return Path(value) if isinstance(value, str | os.PathLike) else value


def located(path: PathLike) -> str:
    """A path that is valid in every working directory; a URL as it is."""
    text = os.fspath(path)
    return text if "://" in text else str(Path(text).absolute())


FilePath = Annotated[Path, BeforeValidator(_path), Accepts("PathLike")]
"""The path of a file or folder."""

LocatedPath = Annotated[
    Path,
    BeforeValidator(_path),
    AfterValidator(Path.absolute),
    Accepts("PathLike"),
]
"""The path of a file or folder, valid in every working directory."""

FilePaths = Annotated[
    tuple[FilePath, ...], BeforeValidator(_several), Accepts("PathLike | Sequence[PathLike]")
]
LocatedPaths = Annotated[
    tuple[LocatedPath, ...], BeforeValidator(_several), Accepts("PathLike | Sequence[PathLike]")
]
Names = Annotated[tuple[str, ...], BeforeValidator(_several), Accepts("str | Sequence[str]")]


# Options of several verbs ----------------------------------------------------------------------


def _device(name: str) -> str:
    kind, _, index = name.partition(":")
    if name not in ("auto", "cpu", "cuda") and (kind != "cuda" or not index.isdigit()):
        raise ValueError(f"'{name}' is no device; give auto, cpu, cuda or cuda:N")
    return name


_DEVICE = (AfterValidator(_device), Text(metavar="auto|cpu|cuda|cuda:N"))

Devices = Annotated[
    str,
    *_DEVICE,
    Field(description="Where to compute. auto: all GPUs, or the CPU of a machine without GPUs."),
]
Device = Annotated[
    str,
    *_DEVICE,
    Field(description="Where to compute. auto: one GPU, or the CPU of a machine without GPUs."),
]

Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(
        description="Number format of the super-resolution networks. auto: bfloat16 where the "
        "device computes it in hardware, float32 elsewhere."
    ),
]

Models = Annotated[
    Names,
    Text(metavar="NAME|FOLDER", default="the default family"),
    Field(
        description="Name of a shipped model or family of models, or a model folder; see "
        "`decametre models`."
    ),
]

ReportFolder = Annotated[
    FilePath | None,
    Text(metavar="FOLDER"),
    Field(description="Write scores.json, scores.csv, scores.md and figures to this folder."),
]

Overwrite = Annotated[bool, Field(description="Replace an existing output.")]
