"""The learning rate of a step: a pure function, so that a resumed run needs no state for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from decametre.training.recipe import Cosine, ModifiedLinear, OptimizationRecipe


def learning_rate(step: int, recipe: OptimizationRecipe, scores: Sequence[float]) -> float:
    """The learning rate of one step.

    Args:
        step: Counted from 0.
        recipe: Rule, batch and steps.
        scores: Of all validations before this step; less is better. Only a plateau looks at them.
    """
    rule = recipe.schedule
    if isinstance(rule, Cosine):
        if step < rule.warmup:
            return rule.rate * (step + 1) / rule.warmup
        share = (step - rule.warmup) / max(1, recipe.steps - rule.warmup)
        return rule.rate * 0.5 * (1 + math.cos(math.pi * share))
    if isinstance(rule, ModifiedLinear):
        k = recipe.batch / rule.reference_batch
        return rule.rate * k * 0.5 ** math.floor(step * k / rule.halve_every)
    return rule.rate * 0.5 ** plateaus(scores, rule.patience)


def plateaus(scores: Sequence[float], patience: int) -> int:
    """How often a score did not improve more than `patience` times running."""
    best, waited, count = math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score < best else (best, waited + 1)
        if waited > patience:
            waited, count = 0, count + 1
    return count


def describe(recipe: OptimizationRecipe) -> str:
    """The rule and its inputs, for the log."""
    rule = recipe.schedule
    if isinstance(rule, Cosine):
        return f"cosine from {rule.rate:g} to 0 in {recipe.steps} steps, warm-up {rule.warmup}"
    if isinstance(rule, ModifiedLinear):
        k = recipe.batch / rule.reference_batch
        return (
            f"modified linear rule, k = {recipe.batch} / {rule.reference_batch} = {k:g}: "
            f"{rule.rate:g} x k = {rule.rate * k:g}, halved every {rule.halve_every} / k = "
            f"{rule.halve_every / k:.0f} steps"
        )
    return f"{rule.rate:g}, halved after {rule.patience} validations without improvement"
