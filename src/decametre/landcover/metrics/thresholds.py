"""From which score on a class is predicted: fixed, or chosen on a validation split.

Thresholds belong to a model and are stored with it by the names of the classes, so that a wrong
order of classes cannot pass.
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
"""Where the network itself would say yes rather than no."""

FIXED, GLOBAL, PER_CLASS = RULES = ("fixed", "global", "per_class")


@dataclass(frozen=True)
class Thresholds:
    """One a class. A score of at least that much is a yes.

    Attributes:
        rule: `fixed`; `global`, all alike; or `per_class`. The latter two were tuned.
        values: In the order of classes.
        untuned: Classes without a positive sample to tune on, which have `DEFAULT`.
    """

    rule: str
    values: tuple[float, ...]
    untuned: tuple[int, ...] = ()


def fixed(classes: int, value: float = DEFAULT) -> Thresholds:
    """The same threshold for all classes, whatever the data."""
    return Thresholds(FIXED, (value,) * classes)


def tuned(predictions: Predictions, rule: str) -> Thresholds:
    """The thresholds that do best on a validation split, never on what is then to be scored.

    Args:
        predictions: Of the split.
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

    It lies midway between two neighbouring scores (below the least score, between that and 0):
    small differences between devices then move no sample across it. Of thresholds that are
    equally good, it is the one nearest to 0.5.

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
    """Plain values for a model's card."""
    return {
        "rule": thresholds.rule,
        "values": dict(zip(class_names, thresholds.values, strict=True)),
        "untuned": [class_names[at] for at in thresholds.untuned],
    }


def from_record(found: Any, class_names: Sequence[str], source: str) -> Thresholds:
    """Read what `record` made.

    Args:
        found: Out of a card.
        class_names: The model's classes, in its order.
        source: What to name in errors.

    Raises:
        ModelError: It is something else, or of other classes.
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
            f"{source}: thresholds are not of the model's classes, '{odd[0]}' is in one only"
        )
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ModelError(f"{source}: threshold of '{name}' is {value!r}; it must be in 0..1")
    return Thresholds(
        found["rule"],
        tuple(float(values[name]) for name in class_names),
        tuple(at for at, name in enumerate(class_names) if name in untuned),
    )
