"""The optimizer of a recipe. The training loop sets the learning rate in each step."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from decametre.training.recipe import OptimizationRecipe


def build_optimizer(network: nn.Module, recipe: OptimizationRecipe) -> Optimizer:
    """Build the optimizer of a network's weights.

    Biases and the parameters of norms have neither weight decay nor a trust ratio, because their
    size does not indicate how large a step may be.

    Args:
        network: The network to train.
        recipe: Name and settings of the optimizer.
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
    from timm.optim import Lamb, Lars  # imports torchvision, which takes seconds

    # By default timm adapts only weights with decay; without decay, LARS would then be plain SGD
    # and LAMB plain Adam.
    weights["always_adapt"] = True
    if recipe.optimizer == "lars":
        return Lars([weights, others], momentum=recipe.momentum, nesterov=recipe.nesterov)
    # The training loop clips gradients; LAMB's own clipping is off.
    return Lamb([weights, others], betas=recipe.betas, eps=recipe.eps, max_grad_norm=None)
