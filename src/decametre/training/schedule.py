"""The learning rate of each step: a pure function, so that checkpoints need no state for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from decametre.training.recipe import (
    Cosine,
    LinearRule,
    LinearWarmup,
    ModifiedLinear,
    OptimizationRecipe,
    Plateau,
    Polynomial,
)


def learning_rate(
    step: int, steps: int, recipe: OptimizationRecipe, scores: Sequence[float]
) -> float:
    """The learning rate of one step.

    Args:
        step: Number of the step, from 0.
        steps: Steps of the run.
        recipe: Rule and batch size.
        scores: Scores of all validations before this step; lower is better. Only `plateau` uses
            them.
    """
    match recipe.schedule:
        case Cosine() as rule:
            if step < rule.warmup:
                return rule.rate * (step + 1) / rule.warmup
            share = (step - rule.warmup) / max(1, steps - rule.warmup)
            return rule.rate * 0.5 * (1 + math.cos(math.pi * share))
        case ModifiedLinear() as rule:
            k = batch_ratio(recipe, rule)
            return rule.rate * k * 0.5 ** math.floor(step * k / rule.halve_every)
        case LinearWarmup() as rule:
            passed = sum(step >= milestone for milestone in milestone_steps(steps, rule))
            return warmup_rate(step, steps, recipe, rule) * rule.factor**passed
        case Polynomial() as rule:
            warmup = warmup_steps(steps, rule)
            left = (steps - max(step, warmup)) / max(1, steps - warmup)
            return warmup_rate(step, steps, recipe, rule) * left**rule.power
        case Plateau() as rule:
            return rule.rate * 0.5 ** count_plateaus(scores, rule.patience)


def batch_ratio(recipe: OptimizationRecipe, rule: ModifiedLinear | LinearRule) -> float:
    """k: the global batch over the reference batch, for any number of devices."""
    return recipe.batch / rule.reference_batch


def warmup_steps(steps: int, rule: LinearRule) -> int:
    """Number of steps in which the rate rises."""
    return round(rule.warmup * steps)


def warmup_rate(step: int, steps: int, recipe: OptimizationRecipe, rule: LinearRule) -> float:
    """The rate of the linear rule before any decay."""
    rise = min(1.0, (step + 1) / max(1, warmup_steps(steps, rule)))
    return rule.rate * batch_ratio(recipe, rule) * rise


def milestone_steps(steps: int, rule: LinearWarmup) -> list[int]:
    """The steps at which the rate falls."""
    return [round(share * steps) for share in rule.milestones]


def count_plateaus(scores: Sequence[float], patience: int) -> int:
    """How often the score failed to improve more than `patience` times in a row."""
    best, waited, count = math.inf, 0, 0
    for score in scores:
        best, waited = (score, 0) if score < best else (best, waited + 1)
        if waited > patience:
            waited, count = 0, count + 1
    return count


def warmup_problem(steps: int, recipe: OptimizationRecipe) -> str:
    """A warning if the warm-up takes the whole run; empty if it does not."""
    rule = recipe.schedule
    if not isinstance(rule, Cosine) or rule.warmup < steps:
        return ""
    highest = learning_rate(steps - 1, steps, recipe, ())
    return (
        f"the warm-up of {rule.warmup} steps is not shorter than the run of {steps}, so the "
        f"learning rate only rises, to {highest:g}; lower optimization.schedule.warmup"
    )


def describe(steps: int, recipe: OptimizationRecipe) -> str:
    """The rule and its inputs as text, for the log."""
    match recipe.schedule:
        case Cosine() as rule:
            return f"cosine from {rule.rate:g} to 0 in {steps} steps, warm-up {rule.warmup}"
        case ModifiedLinear() as rule:
            k = batch_ratio(recipe, rule)
            return (
                f"modified linear rule, {_scaled(recipe, rule)}, halved every {rule.halve_every} / "
                f"k = {rule.halve_every / k:.0f} steps"
            )
        case LinearWarmup() as rule:
            at = ", ".join(str(milestone) for milestone in milestone_steps(steps, rule))
            return (
                f"linear rule, {_scaled(recipe, rule)}, warm-up {warmup_steps(steps, rule)} of "
                f"{steps} steps, times {rule.factor:g} at steps {at or 'none'}"
            )
        case Polynomial() as rule:
            return (
                f"linear rule, {_scaled(recipe, rule)}, warm-up {warmup_steps(steps, rule)} of "
                f"{steps} steps, then to 0 as (share left)^{rule.power:g}"
            )
        case Plateau() as rule:
            return f"{rule.rate:g}, halved after {rule.patience} validations without improvement"


def _scaled(recipe: OptimizationRecipe, rule: ModifiedLinear | LinearRule) -> str:
    k = batch_ratio(recipe, rule)
    return (
        f"k = {recipe.batch} / {rule.reference_batch} = {k:g}: {rule.rate:g} x k = "
        f"{rule.rate * k:g}"
    )
