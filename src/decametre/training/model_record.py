"""What the card of a trained model records about its training, equal for all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from decametre.errors import ModelError
from decametre.model_folder import ModelCard
from decametre.training.recipe import Recipe
from decametre.version import __version__


def init_provenance(init: ModelCard | None) -> dict[str, str] | None:
    """Name and checksum of the initial model, whose path differs between machines."""
    return None if init is None else {"name": init.name, "checksum": init.checksum}


def training_record(
    recipe: Recipe, step: int, inputs: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """The field `training` of a card.

    Args:
        recipe: The recipe of the run.
        step: Completed steps.
        inputs: The task's `extra_inputs`, with `init` and `precision`.
        data: What the card states about the training data.
    """
    return {
        "recipe": recipe.model_dump(mode="json", exclude={"data": {"train", "validation"}}),
        "step": step,
        "init": inputs["init"],
        **data,
        "precision": inputs["precision"],
        "decametre": __version__,
    }


def now() -> str:
    """The time at which weights were made, for a card: UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_same_network(
    init: str, card: ModelCard, recipe_card: ModelCard, fields: Sequence[str]
) -> None:
    """Check that an initial model has the network of the recipe.

    Args:
        init: The model as given by the user.
        card: The model's card.
        recipe_card: Card of the recipe's network.
        fields: The fields of the cards that must be equal.

    Raises:
        ModelError: A field differs.
    """
    for name in fields:
        found, required = getattr(card, name), getattr(recipe_card, name)
        if found != required:
            raise ModelError(
                f"--init {init}: its {name} is {found!r:.80}, but that of the recipe is "
                f"{required!r:.80}"
            )
