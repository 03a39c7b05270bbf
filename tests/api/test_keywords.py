"""Functions that take an options object also take each option by keyword."""

import inspect
from typing import Annotated

import click
import pytest
from pydantic import Field

from decametre.api.keywords import takes
from decametre.cli.options import options as cli_options
from decametre.errors import DecametreError, OptionError, UnknownNameError
from decametre.options import Names, Options


class Example(Options):
    """Options of an example."""

    folder: str
    """Where to look."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A share."""
    names: Names = ()
    """Some names."""


@takes(Example, positional=("folder",))
def look(source: str, options: Example, *, progress: int = 0) -> tuple:
    """Look.

    Args:
        source: What is looked at.
        progress: A number.

    Returns:
        Everything.
    """
    return source, options, progress


def test_keywords_and_positions_become_options():
    expected = ("x", Example(folder="f", share=1, names=("a",)), 3)
    assert look("x", "f", share=1, names="a", progress=3) == expected
    assert look(source="x", folder="f", share=1, names=["a"], progress=3) == expected
    assert look("x", options=expected[1], progress=3) == expected


def test_keywords_replace_values_of_the_object():
    options = Example(folder="f", share=0.1)
    assert look("x", options=options, share=0.2)[1] == Example(folder="f", share=0.2)


@pytest.mark.parametrize(
    ("keywords", "kind", "message"),
    [
        ({"shar": 1}, UnknownNameError, r"unknown argument of look\(\) 'shar'; did you mean share"),
        ({"folder": "f", "share": 2}, OptionError, "argument share"),
        ({}, OptionError, "argument folder: is required"),
    ],
)
def test_mistakes(keywords, kind, message):
    with pytest.raises(kind, match=message):
        look("x", **keywords)


def test_missing_and_repeated_arguments_are_errors_as_of_any_function():
    with pytest.raises(TypeError, match="source"):
        look(folder="f")
    with pytest.raises(TypeError, match="folder"):
        look("x", "f", folder="f")
    with pytest.raises(TypeError, match="too many"):
        look("x", "f", "g")


def test_the_signature_has_all_keywords():
    expected = (
        "(source: 'str', folder: 'str', *, share: 'float' = 0.5, "
        "names: 'str | Sequence[str]' = (), options: 'Example | None' = None, "
        "progress: 'int' = 0) -> 'tuple'"
    )
    assert str(inspect.signature(look)).replace("'", "") == expected.replace("'", "")


def test_the_docstring_describes_all_keywords():
    assert inspect.getdoc(look) == inspect.cleandoc(
        """
        Look.

        Args:
            source: What is looked at.
            progress: A number.
            folder: Where to look.
            share: A share.
            names: Some names.
            options: All of these in one object; keywords replace its values.

        Returns:
            Everything.
        """
    )


def test_excluded_options_are_refused():
    @takes(Example, exclude={"share"}, into="job")
    def work(job: Example) -> Example:
        """Work."""
        return job

    assert work(folder="f") == work(job=Example(folder="f")) == Example(folder="f")
    with pytest.raises(UnknownNameError, match="share"):
        work(folder="f", share=0.1)
    with pytest.raises(OptionError, match="share: cannot be used here"):
        work(job=Example(folder="f", share=0.1))


class Flags(Options):
    """Options of another example."""

    overwrite: bool = False
    """Replace."""
    native: bool = True
    """Keep."""
    label_share: float = 0.5
    """A share."""


@takes(Flags)
def fail(options: Flags) -> None:
    """Fail."""
    raise DecametreError("use --overwrite, --no-native or --label-share 0.2, not --other")


def test_errors_name_arguments_in_python_and_options_on_the_command_line():
    with pytest.raises(
        DecametreError,
        match=r"^use overwrite=True, native=False or label_share 0\.2, not --other$",
    ):
        fail()
    command = click.command()(cli_options(Flags)(lambda options: fail(options=options)))
    with pytest.raises(DecametreError, match=r"^use --overwrite, --no-native or --label-share 0"):
        command.main([], standalone_mode=False)
