"""Scores of a multi-label classifier, for samples with any number of classes.

docs/landcover.md states definitions and conventions. Scores depend on the samples alone, not on
their order or on the processes that classified them: counts are integers, and average precision is
computed in one place from merged predictions. torchmetrics serves as a reference in tests only: it
divides and sums in single precision, in an order that depends on the number of threads, and counts
a class without positives as 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decametre.errors import EvaluationError

AVERAGES = ("micro", "macro", "weighted", "samples")
"""In the order of the tables."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted scores of samples, with their true classes.

    Attributes:
        indices: (N,) int64: indices of the samples in the data set.
        scores: (N, C) float32 in 0..1.
        truth: (N, C) uint8: 1 where the sample has the class.

    Raises:
        EvaluationError: A score is not a number in 0..1.
    """

    indices: np.ndarray
    scores: np.ndarray
    truth: np.ndarray

    def __post_init__(self) -> None:
        if not (len(self.indices),) == self.indices.shape == self.scores.shape[:1]:
            raise ValueError(f"indices {self.indices.shape} for scores {self.scores.shape}")
        if self.scores.ndim != 2 or self.scores.shape != self.truth.shape:
            raise ValueError(f"scores {self.scores.shape} for truth {self.truth.shape}")
        if self.scores.dtype != np.float32 or self.truth.dtype != np.uint8:
            raise ValueError(f"scores of {self.scores.dtype} for truth of {self.truth.dtype}")
        if self.truth.size and self.truth.max() > 1:
            raise ValueError(f"truth of {self.truth.max()}")
        wrong = np.argwhere(~((self.scores >= 0) & (self.scores <= 1)))
        if len(wrong):
            sample, number = wrong[0]
            raise EvaluationError(
                f"score {self.scores[sample, number]} of sample {self.indices[sample]}, class "
                f"{number}, is not in 0..1 ({len(wrong)} such scores); the network's weights or "
                "its input hold values that are not finite"
            )

    def __len__(self) -> int:
        return len(self.indices)


def merge_predictions(parts: Sequence[Predictions], samples: int) -> Predictions:
    """Merge the predictions of all ranks, in the order of indices.

    Of samples that several ranks classified, to fill a batch, the first rank's prediction counts.

    Args:
        parts: The result of `Ranks.gather`; parts may be empty.
        samples: Number of samples in total.
    """
    every = np.concatenate([part.indices for part in parts])
    truth = np.concatenate([part.truth for part in parts])
    indices, first, same = np.unique(every, return_index=True, return_inverse=True)
    if len(indices) != samples:
        raise ValueError(f"{len(indices)} of {samples} samples were classified")
    if not np.array_equal(truth, truth[first][same]):
        raise ValueError("a sample has different true classes in two parts")
    scores = np.concatenate([part.scores for part in parts])
    return Predictions(indices, scores[first], truth[first])


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts from which precision, recall and F1 follow; integers, which add up in any order.

    Attributes:
        true_positives: (C,) int64: samples that have the class and for which it was predicted.
        false_positives: (C,) int64: samples for which it was predicted in error.
        false_negatives: (C,) int64: samples that have the class, and it was not predicted.
        per_sample: Number of samples by (classes, predicted classes, correct classes).
    """

    true_positives: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray
    per_sample: Counter[tuple[int, int, int]]

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.per_sample + other.per_sample,
        )

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.per_sample.total()

    @property
    def unlabelled(self) -> int:
        """Number of samples without any class."""
        return sum(number for key, number in self.per_sample.items() if key[0] == 0)

    @property
    def support(self) -> np.ndarray:
        """(C,) int64: samples that have the class."""
        return self.true_positives + self.false_negatives

    @property
    def predicted(self) -> np.ndarray:
        """(C,) int64: samples for which the class was predicted."""
        return self.true_positives + self.false_positives

    @property
    def true_negatives(self) -> np.ndarray:
        """(C,) int64: all other samples."""
        return self.samples - self.true_positives - self.false_positives - self.false_negatives


@dataclass(frozen=True)
class Rates:
    """Rates of a class, or their averages; NaN if undefined.

    Attributes:
        precision: Share of the predictions that are correct.
        recall: Share of the true classes that were predicted.
        f1: Harmonic mean of both; of averages, the average of such means.
        average_precision: Mean precision over all thresholds, weighted by the recall gained.
    """

    precision: float
    recall: float
    f1: float
    average_precision: float = math.nan


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class.

    Attributes:
        support: Number of samples that have the class.
        predicted: Number of samples for which it was predicted.
        threshold: Least score for which it is predicted.
        rates: Its rates; all NaN without support.
    """

    support: int
    predicted: int
    threshold: float
    rates: Rates


@dataclass(frozen=True)
class Scores:
    """Scores of a classifier on a set of samples.

    Attributes:
        samples: Number of samples.
        unlabelled: Number of samples without any class, which averages over samples exclude.
        classes: Scores of each class, in the order of columns.
        averages: Rates for each of `AVERAGES`. `samples` has no average precision.
    """

    samples: int
    unlabelled: int
    classes: tuple[ClassScores, ...]
    averages: Mapping[str, Rates]

    @property
    def support(self) -> tuple[int, ...]:
        """Number of samples of each class."""
        return tuple(one.support for one in self.classes)

    @property
    def without_support(self) -> tuple[int, ...]:
        """Classes that no sample has, which averages over classes exclude."""
        return tuple(at for at, one in enumerate(self.classes) if not one.support)

    @property
    def never_predicted(self) -> tuple[int, ...]:
        """Classes with support that were never predicted, whose precision counts as 0."""
        return tuple(at for at, one in enumerate(self.classes) if one.support and not one.predicted)


def positives(predictions: Predictions, thresholds: Sequence[float]) -> np.ndarray:
    """(N, C) bool: the predicted classes, whose score is at least the threshold."""
    # In double precision, so that a threshold between two scores remains between them.
    return predictions.scores >= np.asarray(thresholds, np.float64)


def count(predictions: Predictions, thresholds: Sequence[float]) -> Counts:
    """Count correct and wrong predictions.

    Args:
        predictions: Predictions of any samples; may be empty.
        thresholds: One threshold per class.
    """
    truth, predicted = predictions.truth.astype(bool), positives(predictions, thresholds)
    hits = truth & predicted
    of_samples = np.stack([found.sum(axis=1) for found in (truth, predicted, hits)], axis=1)
    keys, numbers = np.unique(of_samples, axis=0, return_counts=True)
    return Counts(
        hits.sum(axis=0),
        (predicted & ~truth).sum(axis=0),
        (truth & ~predicted).sum(axis=0),
        Counter(dict(zip(map(tuple, keys.tolist()), numbers.tolist(), strict=True))),
    )


def score(predictions: Predictions, thresholds: Sequence[float]) -> Scores:
    """Compute all scores.

    Args:
        predictions: Predictions of all samples.
        thresholds: One threshold per class.

    Raises:
        EvaluationError: No sample has any class.
    """
    counts = count(predictions, thresholds)
    support = counts.support
    if not support.any():
        raise EvaluationError(
            f"none of the {len(predictions)} samples has a class, so nothing can be scored; "
            "check the split and the nomenclature"
        )
    precisions = np.array(
        [
            average_precision(column, truth)
            for column, truth in zip(predictions.scores.T, predictions.truth.T, strict=True)
        ]
    )
    of_class = np.stack([*_rates(support, counts.predicted, counts.true_positives), precisions])
    overall = average_precision(predictions.scores.ravel(), predictions.truth.ravel())
    micro = _rates(support.sum(), counts.predicted.sum(), counts.true_positives.sum())
    keys = np.array(sorted(counts.per_sample))
    of_samples = _rates(*keys.T)
    numbers = np.array([counts.per_sample[tuple(key)] for key in keys.tolist()])
    return Scores(
        samples=counts.samples,
        unlabelled=counts.unlabelled,
        classes=tuple(
            ClassScores(int(there), int(found), float(threshold), Rates(*rates.tolist()))
            for there, found, threshold, rates in zip(
                support, counts.predicted, thresholds, of_class.T, strict=True
            )
        ),
        averages={
            "micro": Rates(*map(float, [*micro, overall])),
            "macro": Rates(*(_mean(values, support > 0) for values in of_class)),
            "weighted": Rates(*(_mean(values, support) for values in of_class)),
            "samples": Rates(*(_mean(values, numbers * (keys[:, 0] > 0)) for values in of_samples)),
        },
    )


def f1(counts: Counts) -> Mapping[str, float]:
    """Micro and macro F1 as in `score`, from counts alone: cheap enough for every validation."""
    support, predicted, hits = counts.support, counts.predicted, counts.true_positives
    return {
        "micro": float(_rates(support.sum(), predicted.sum(), hits.sum())[2]),
        "macro": _mean(_rates(support, predicted, hits)[2], support > 0),
    }


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the precision at each score, weighted by the recall that it adds.

    The sum is over distinct scores, without interpolation, as in `average_precision_score` of
    scikit-learn, so that the order of ties does not matter.

    Args:
        scores: (N,).
        truth: (N,) of 0 and 1.

    Returns:
        NaN without positives.
    """
    if not truth.any():
        return math.nan
    _, predicted, hits = curve(scores, truth)
    return float(np.sum(np.diff(hits, prepend=0) * (hits / predicted)) / hits[-1])


def curve(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count predictions with each distinct score as the threshold.

    Args:
        scores: (N,).
        truth: (N,) of 0 and 1.

    Returns:
        (M,) each: the distinct scores in descending order, the number of scores at least as great,
        and how many of those are positive.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
    return ranked[last], last + 1, np.cumsum(truth[order], dtype=np.int64)[last]


def _rates(support: np.ndarray, predicted: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """(3, ...): precision, recall and F1; NaN without support, 0 if nothing was predicted."""
    # Results for classes without support are discarded.
    there = np.maximum(support, 1)
    found = (hits / np.maximum(predicted, 1), hits / there, 2 * hits / (there + predicted))
    return np.where(support > 0, np.stack(found), math.nan)


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Mean over values with a weight, rounded only once."""
    known = weights > 0
    return math.fsum((values * weights)[known]) / int(weights.sum())
