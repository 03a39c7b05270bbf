"""The task of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from decametre.landcover.models.card import TASK, LandCoverCard
from decametre.model_folder import CARD_NAME, read_item
from decametre.recipes.reading import AnyRecipe
from decametre.superres.models.card import Card, read_card
from decametre.superres.training.recipe import SuperResolutionRecipe
from decametre.training.task import Task


def build_task(
    recipe: AnyRecipe, init: str | None, device: torch.device, precision: torch.dtype
) -> Task[Any]:
    """What a recipe trains, with its data.

    Args:
        recipe: The run.
        init: Name or folder of a model whose weights the network starts with; random without.
        device: Where it is trained.
        precision: `torch.float32`, or `torch.bfloat16` for autocast.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    # Each brings libraries of its own, which take seconds to import.
    if isinstance(recipe, SuperResolutionRecipe):
        from decametre.superres.training.task import SuperResolution

        return SuperResolution(recipe, init, device, precision)
    from decametre.landcover.training.task import LandCover

    return LandCover(recipe, init, device, precision)


def read_trained_card(recipe: AnyRecipe, folder: Path) -> Card | LandCoverCard:
    """The card of what a run left.

    Raises:
        ModelError: It is missing or damaged.
    """
    path = folder / CARD_NAME
    if isinstance(recipe, SuperResolutionRecipe):
        return read_card(path)
    return LandCoverCard.from_stac(read_item(path, TASK), str(path))


def summarise_card(card: Card | LandCoverCard) -> str:
    """The best validation score and its step, in words."""
    scores, step = card.scores, card.training["step"]
    if isinstance(card, LandCoverCard):
        found = f"micro F1 {scores['micro_f1']:.4f}, macro F1 {scores['macro_f1']:.4f}"
        return f"{found} on the validation patches, at step {step}"
    return (
        f"RMSE {scores['rmse_ratio_to_bicubic']:.4f} of bicubic on the validation products "
        f"({scores['protocol']}), at step {step}"
    )
