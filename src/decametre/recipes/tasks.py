"""Builds the task of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from decametre.extras import check_extra
from decametre.landcover.models.card import LandCoverCard
from decametre.recipes.reading import AnyRecipe
from decametre.superres.models.card import Card
from decametre.superres.models.uncertainty import UncertaintyCard
from decametre.superres.training.recipe import SuperResolutionRecipe, UncertaintyRecipe
from decametre.training.task import Task


def build_task(
    recipe: AnyRecipe, init: str | None, device: torch.device, precision: torch.dtype
) -> Task[Any]:
    """Build the task of a recipe, and load its data.

    Args:
        recipe: The recipe.
        init: Name or folder of a model whose weights the network starts with; random by default.
        device: Device for training.
        precision: `torch.float32`, or `torch.bfloat16` for autocast.

    Raises:
        DecametreError: The data or the model cannot be used.
    """
    # The tasks import separate libraries, which takes seconds.
    if isinstance(recipe, SuperResolutionRecipe):
        from decametre.superres.training.task import SuperResolution

        return SuperResolution(recipe, init, device, precision)
    if isinstance(recipe, UncertaintyRecipe):
        from decametre.superres.training.uncertainty_task import UncertaintyTraining

        return UncertaintyTraining(recipe, init, device, precision)
    check_extra("landcover", "a land-cover recipe")
    from decametre.landcover.training.task import LandCover

    return LandCover(recipe, init, device, precision)


TrainedCard = Card | UncertaintyCard | LandCoverCard


def read_trained_card(recipe: AnyRecipe, folder: Path) -> TrainedCard:
    """Read the card of a trained model.

    Raises:
        ModelError: The card is missing or damaged.
    """
    cards: dict[str, type[TrainedCard]] = {
        "super-resolution": Card,
        "uncertainty": UncertaintyCard,
        "landcover": LandCoverCard,
    }
    return cards[recipe.task].read(folder)


def summarise_card(card: TrainedCard) -> str:
    """The best validation score and its step, as text."""
    scores, step = card.scores, card.training["step"]
    if isinstance(card, LandCoverCard):
        found = f"micro F1 {scores['micro_f1']:.4f}, macro F1 {scores['macro_f1']:.4f}"
        return f"{found} on the validation patches, at step {step}"
    if isinstance(card, UncertaintyCard):
        score = scores["negative_log_likelihood"]
        return (
            f"negative log-likelihood {score:.4f} on the validation products, at step {step}; for "
            f"`sharpen --uncertainty`, move the folder into that of {card.of} as `uncertainty`"
        )
    return (
        f"RMSE {scores['rmse_ratio_to_bicubic']:.4f} of bicubic on the validation products "
        f"({scores['protocol']}), at step {step}"
    )
