"""The optimizer of a recipe. The learning rate is set step by step, by the loop."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from decametre.training.recipe import OptimizationRecipe


def build_optimizer(network: nn.Module, recipe: OptimizationRecipe) -> Optimizer:
    """The optimizer of a network's weights.

    Biases and norms have neither weight decay nor a trust ratio: their size says nothing of how
    far a step may go.

    Args:
        network: What is trained.
        recipe: Which optimizer, and what it looks at.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    weights = {
        "params": [p for p in trained if p.ndim > 1],
        "weight_decay": recipe.weight_decay,
    }
    others = {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW([weights, others], betas=recipe.betas, eps=recipe.eps)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            [weights, others], momentum=recipe.momentum, nesterov=recipe.nesterov
        )
    from timm.optim import Lamb, Lars  # with torchvision, which takes two seconds to import

    # By itself timm adapts only what decays; without decay both would be their plain selves.
    weights["always_adapt"] = True
    if recipe.optimizer == "lars":
        return Lars([weights, others], momentum=recipe.momentum, nesterov=recipe.nesterov)
    # The recipe's clip is the only one.
    return Lamb([weights, others], betas=recipe.betas, eps=recipe.eps, max_grad_norm=None)
