"""The options of training."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator

from decametre.options import (
    Accepts,
    Device,
    FilePath,
    Names,
    Options,
    Precision,
    Text,
)


def _setting(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ValueError(f"'{text}' is not KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f"'{value}' is not a value in YAML") from None


def _mapping(value: Any) -> Any:
    return {} if value is None else dict(value)


class RecipeOptions(Options):
    """Changes to a recipe, and where the network is trained."""

    train: Annotated[Names, Text(metavar="PRODUCT")] = ()
    """Product, or pattern of paths, to train on in place of those of the recipe."""
    validation: Annotated[Names, Text(metavar="PRODUCT")] = ()
    """Product, or pattern of paths, to select the weights by in place of those of the recipe."""
    settings: Annotated[
        dict[str, Any],
        BeforeValidator(_mapping),
        Accepts("Mapping[str, Any] | None"),
        Text(metavar="KEY=VALUE", parse=_setting, flag="--set"),
    ] = {}  # noqa: RUF012  # frozen, and pydantic copies it
    """Another value for a key of the recipe, such as optimization.steps=2000."""
    device: Device = "auto"
    precision: Precision = "auto"


class TrainOptions(RecipeOptions):
    """How a network is trained."""

    out: Annotated[FilePath | None, Text(metavar="FOLDER", default="the name of the recipe")] = None
    """Folder of the run: the model with the best validation score, the checkpoint, logs and
    pictures. A run that was interrupted in this folder resumes."""
    init: Annotated[str | None, Text(metavar="MODEL")] = None
    """Start from the weights of this model, given by name or folder."""
    resume: Annotated[str, Text(metavar="auto|never|CHECKPOINT")] = "auto"
    """auto: resume from the newest checkpoint in the folder of the run, if there is one. never: do
    not resume. Or the path of a checkpoint to resume from."""
