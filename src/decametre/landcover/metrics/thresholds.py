"""Thresholds of scores from which on classes are predicted: fixed, or tuned on a validation split.

Thresholds are stored in a model's card by class name, so that another order of classes cannot be
mistaken for the model's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decametre.errors import ModelError, UnknownNameError
from decametre.landcover.metrics.scores import Predictions, curve

DEFAULT = 0.5
"""The threshold by default: a probability of one half."""

FIXED, GLOBAL, PER_CLASS = RULES = ("fixed", "global", "per_class")


@dataclass(frozen=True)
class Thresholds:
    """One threshold per class: a class is predicted if its score is at least the threshold.

    Attributes:
        rule: `fixed`; `global`: tuned, one for all classes; `per_class`: tuned for each.
        values: The thresholds, in the order of classes.
        untuned: Classes without a positive sample to tune on, which have `DEFAULT`.
    """

    rule: str
    values: tuple[float, ...]
    untuned: tuple[int, ...] = ()


def fixed(classes: int, value: float = DEFAULT) -> Thresholds:
    """The same threshold for all classes, independent of data."""
    return Thresholds(FIXED, (value,) * classes)


def tuned(predictions: Predictions, rule: str) -> Thresholds:
    """Tune thresholds on a validation split, which must not be the one that is scored.

    Args:
        predictions: Predictions of the split.
        rule: `global`: one threshold, for the greatest micro F1. `per_class`: for the greatest F1
            of each class, and so the greatest macro F1.

    Raises:
        UnknownNameError: There is no such rule.
    """
    scores, truth = predictions.scores, predictions.truth
    if rule == GLOBAL:
        found = [best_threshold(scores.ravel(), truth.ravel())] * scores.shape[1]
    elif rule == PER_CLASS:
        found = [best_threshold(*column) for column in zip(scores.T, truth.T, strict=True)]
    else:
        raise UnknownNameError("rule for thresholds", rule, (GLOBAL, PER_CLASS))
    return Thresholds(
        rule,
        tuple(DEFAULT if math.isnan(value) else value for value in found),
        tuple(at for at, value in enumerate(found) if math.isnan(value)),
    )


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """The threshold of the greatest F1.

    It lies midway between two neighbouring scores, or between the least score and 0, so that small
    differences between devices move no sample across it. Of equally good thresholds, the one
    nearest to 0.5 is chosen.

    Args:
        scores: (N,) float32 in 0..1. Samples of equal score are predicted together or not at all.
        truth: (N,) of 0 and 1.

    Returns:
        NaN without positives, for which no threshold is better than another.
    """
    if not truth.any():
        return math.nan
    distinct, predicted, hits = curve(scores, truth)
    upper = distinct.astype(np.float64)
    middle = (upper + np.append(upper[1:], 0.0)) / 2
    f1 = 2 * hits / (predicted + hits[-1])
    equal = middle[f1 == f1.max()]
    return float(equal[np.argmin(np.abs(equal - DEFAULT))])


def record(thresholds: Thresholds, class_names: Sequence[str]) -> dict[str, Any]:
    """The thresholds as plain values for a model's card."""
    return {
        "rule": thresholds.rule,
        "values": dict(zip(class_names, thresholds.values, strict=True)),
        "untuned": [class_names[at] for at in thresholds.untuned],
    }


def from_record(found: Any, class_names: Sequence[str], source: str) -> Thresholds:
    """Read thresholds that `record` wrote.

    Args:
        found: The value in a card.
        class_names: The model's classes, in its order.
        source: Source of the value, for messages.

    Raises:
        ModelError: The value is invalid, or of other classes.
    """
    values = found.get("values") if isinstance(found, Mapping) else None
    if not isinstance(values, Mapping) or found.get("rule") not in RULES:
        raise ModelError(
            f"{source}: thresholds need 'rule' ({', '.join(RULES)}) and 'values', found {found!r}"
        )
    untuned = found.get("untuned", [])
    named = {*values, *(untuned if isinstance(untuned, list) else [untuned])}
    if odd := sorted({*class_names} ^ {*values} | named - {*class_names}, key=str):
        raise ModelError(
            f"{source}: thresholds are not of the model's classes: '{odd[0]}' is in one only"
        )
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ModelError(f"{source}: threshold of '{name}' is {value!r}; it must be in 0..1")
    return Thresholds(
        found["rule"],
        tuple(float(values[name]) for name in class_names),
        tuple(at for at, name in enumerate(class_names) if name in untuned),
    )
