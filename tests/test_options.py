"""The base of all options."""

import pickle
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import Field

from decametre.errors import DecametreError, OptionError, UnknownNameError
from decametre.options import LocatedPath, LocatedPaths, Options, accepted, located
from decametre.superres.sharpening.options import SharpenOptions


class Example(Options):
    required: int
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    path: LocatedPath | None = None
    paths: LocatedPaths = ()


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({}, OptionError, "argument required: is required"),
        ({"required": "1"}, OptionError, "argument required: must be a valid integer, not '1'"),
        ({"required": 1.5}, OptionError, "argument required: must be a valid integer, not 1.5"),
        ({"required": 1, "share": 2}, OptionError, "must be less than or equal to 1, not 2"),
        ({"required": 1, "share": float("nan")}, OptionError, "must be a finite number, not nan"),
        ({"required": 1, "shar": 1}, UnknownNameError, "unknown option 'shar'; did you mean share"),
        ({"required": 1, "path": 1}, OptionError, "argument path"),
    ],
)
def test_a_mistake_is_one_line(values, kind, message):
    with pytest.raises(kind) as error:
        Example(**values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, DecametreError)


def test_an_unknown_choice_names_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown encoding 'float'; known: dn, reflectance"):
        SharpenOptions(encoding="float")


def test_scalars_of_numpy_are_numbers():
    options = Example(required=np.int64(3), share=np.float32(0.25))
    assert options == Example(required=3, share=0.25)
    assert type(options.required) is int


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Example(required=1, path="a", paths="b")
    assert options.path == tmp_path / "a"
    assert options.paths == (tmp_path / "b",)
    assert Example(required=1, paths=[Path("b"), "/c"]).paths == (tmp_path / "b", Path("/c"))
    assert located("http://host/x") == "http://host/x"
    assert located("x") == str(tmp_path / "x")


def test_options_are_frozen_and_travel_to_other_processes():
    options = Example(required=1)
    with pytest.raises(ValueError, match="frozen"):
        options.required = 2
    assert pickle.loads(pickle.dumps(options)) == options


def test_replaced_values_are_checked():
    options = Example(required=1, share=0.25)
    assert options.replaced(required=2) == Example(required=2, share=0.25)
    with pytest.raises(OptionError, match="share"):
        options.replaced(share=-1)


def test_accepted_types_are_those_of_python_users():
    found = {name: accepted(field) for name, field in Example.model_fields.items()}
    assert found == {
        "required": "int",
        "share": "float",
        "path": "PathLike | None",
        "paths": "PathLike | Sequence[PathLike]",
    }
