"""The task of a recipe."""

from __future__ import annotations

from typing import Any

import torch

from decametre.training.recipe import AnyRecipe, SuperResolutionRecipe
from decametre.training.task import Task


def task_of(
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
        from decametre.training.super_resolution import SuperResolution

        return SuperResolution(recipe, init, device, precision)
    from decametre.training.land_cover import LandCover

    return LandCover(recipe, init, device, precision)
