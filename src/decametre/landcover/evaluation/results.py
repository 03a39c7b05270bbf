"""Results of an evaluation of land cover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from decametre.landcover.metrics.confusion import confusion
from decametre.landcover.metrics.scores import Predictions, Scores, score
from decametre.landcover.metrics.thresholds import Thresholds

RATES = {"precision": "P", "recall": "R", "f1": "F1", "average_precision": "AP"}
"""The fields of `Rates`, and their heads in tables."""


@dataclass(frozen=True, eq=False)
class ClassifierScores:
    """Scores of one model.

    Attributes:
        label: Its name in all tables, unique in the evaluation.
        model: Name in its card.
        checksum: SHA-256 of its weights.
        thresholds: Thresholds that were applied.
        scores: Scores on all samples.
        confusion: (C + 1, C + 1), see `metrics.confusion`.
    """

    label: str
    model: str
    checksum: str
    thresholds: Thresholds
    scores: Scores
    confusion: np.ndarray


def score_classifier(
    label: str, model: str, checksum: str, predictions: Predictions, thresholds: Thresholds
) -> ClassifierScores:
    """Compute all reported scores of a model.

    Args:
        label: See `ClassifierScores`.
        model: See `ClassifierScores`.
        checksum: See `ClassifierScores`.
        predictions: Predictions of all samples.
        thresholds: Thresholds of the model's classes.

    Raises:
        EvaluationError: No sample has any class.
    """
    return ClassifierScores(
        label,
        model,
        checksum,
        thresholds,
        score(predictions, thresholds.values),
        confusion(predictions, thresholds.values),
    )


@dataclass(frozen=True, eq=False)
class LandCoverEvaluation:
    """Several models on the same samples.

    Attributes:
        command: The command line that repeats the evaluation.
        store: The store of patches, as named in the command.
        split: Split of the patches.
        nomenclature: Name of the nomenclature.
        class_names: Its classes, in order.
        models: At least one.
    """

    command: str
    store: str
    split: str
    nomenclature: str
    class_names: tuple[str, ...]
    models: tuple[ClassifierScores, ...]

    def __post_init__(self) -> None:
        if len({model.label for model in self.models}) != len(self.models):
            raise ValueError("two models of one label")
        for model in self.models:
            if len(model.scores.classes) != len(self.class_names):
                raise ValueError(f"{model.label}: {len(model.scores.classes)} classes")
            if (model.scores.samples, model.scores.support) != (self.samples, self.support):
                raise ValueError(f"{model.label} was scored on other samples")

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.models[0].scores.samples

    @property
    def unlabelled(self) -> int:
        """Number of samples without any class."""
        return self.models[0].scores.unlabelled

    @property
    def support(self) -> tuple[int, ...]:
        """Number of samples of each class."""
        return self.models[0].scores.support

    @property
    def without_support(self) -> tuple[str, ...]:
        """Classes that no sample has."""
        return tuple(self.class_names[at] for at in self.models[0].scores.without_support)

    def never_predicted(self, model: ClassifierScores) -> tuple[str, ...]:
        """Classes with support that a model never predicted."""
        return tuple(self.class_names[at] for at in model.scores.never_predicted)

    def records(self) -> Iterator[tuple[str, str, str, str, float]]:
        """Every number as (model, `average` or `class`, its name, metric, value)."""
        for model in self.models:
            for name, rates in model.scores.averages.items():
                for metric in RATES:
                    yield model.label, "average", name, metric, getattr(rates, metric)
            for name, one in zip(self.class_names, model.scores.classes, strict=True):
                for metric in ("support", "predicted", "threshold"):
                    yield model.label, "class", name, metric, getattr(one, metric)
                for metric in RATES:
                    yield model.label, "class", name, metric, getattr(one.rates, metric)
