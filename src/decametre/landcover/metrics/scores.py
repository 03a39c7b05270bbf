"""Scores of a multi-label classifier: each sample has any number of classes.

Definitions and conventions stand in docs/landcover.md. Everything here is a function of the
samples, not of their order or of the processes that classified them: counts are integers, and what
is not (average precision) is computed in one place from `merged` predictions. That is why
torchmetrics judges our values in the tests only: it divides and sums in single precision, in an
order that depends on the number of threads, and takes a class without positives as 0.
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
    """What a network says of some samples, beside the truth.

    Attributes:
        places: (N,) int64: the samples' places in the whole data set, by which they are known.
        scores: (N, C) float32 in 0..1.
        truth: (N, C) uint8: 1 where the sample has the class.

    Raises:
        EvaluationError: A score is not a number in 0..1.
    """

    places: np.ndarray
    scores: np.ndarray
    truth: np.ndarray

    def __post_init__(self) -> None:
        if not (len(self.places),) == self.places.shape == self.scores.shape[:1]:
            raise ValueError(f"places {self.places.shape} for scores {self.scores.shape}")
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
                f"score {self.scores[sample, number]} of sample {self.places[sample]}, class "
                f"{number}, is not in 0..1 ({len(wrong)} such scores); the network's weights or "
                "its input hold values that are not finite"
            )

    def __len__(self) -> int:
        return len(self.places)


def merged(parts: Sequence[Predictions], samples: int) -> Predictions:
    """The predictions of all ranks as one, in the order of places.

    What ranks classified more than once, to fill a batch, counts once: as the first rank saw it.

    Args:
        parts: What `Ranks.gather` returns; any of them may be empty.
        samples: How many there are in all.
    """
    every = np.concatenate([part.places for part in parts])
    truth = np.concatenate([part.truth for part in parts])
    places, first, same = np.unique(every, return_index=True, return_inverse=True)
    if len(places) != samples:
        raise ValueError(f"{len(places)} of {samples} samples were classified")
    if not np.array_equal(truth, truth[first][same]):
        raise ValueError("samples of one place have different truths")
    scores = np.concatenate([part.scores for part in parts])
    return Predictions(places, scores[first], truth[first])


@dataclass(frozen=True, eq=False)
class Counts:
    """What precision, recall and F1 are made of. Integers: they add up exactly in any order.

    Attributes:
        true_positives: (C,) int64: samples that have the class and for which it was predicted.
        false_positives: (C,) int64: samples for which it was predicted in error.
        false_negatives: (C,) int64: samples that have it, and it was not predicted.
        per_sample: How many samples have how many (classes, predicted classes, right ones).
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
        """How many were counted."""
        return self.per_sample.total()

    @property
    def unlabelled(self) -> int:
        """Samples that have no class at all."""
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
    """NaN where undefined.

    Attributes:
        precision: Share of what was predicted that is right.
        recall: Share of what is there that was predicted.
        f1: Their harmonic mean; of averages, the average of such means.
        average_precision: Mean precision over all thresholds, weighted by the recall gained.
    """

    precision: float
    recall: float
    f1: float
    average_precision: float = math.nan


@dataclass(frozen=True)
class ClassScores:
    """One class.

    Attributes:
        support: Samples that have it.
        predicted: Samples for which it was predicted.
        threshold: The least score for which it is.
        rates: All NaN without support.
    """

    support: int
    predicted: int
    threshold: float
    rates: Rates


@dataclass(frozen=True)
class Scores:
    """A classifier on a set of samples.

    Attributes:
        samples: How many.
        unlabelled: Those without any class, which the averages over samples leave out.
        classes: In the order of the scores' columns.
        averages: For each of `AVERAGES`. There is no average precision of samples.
    """

    samples: int
    unlabelled: int
    classes: tuple[ClassScores, ...]
    averages: Mapping[str, Rates]

    @property
    def support(self) -> tuple[int, ...]:
        """Samples of each class."""
        return tuple(one.support for one in self.classes)

    @property
    def without_support(self) -> tuple[int, ...]:
        """Classes that no sample has, which the averages over classes leave out."""
        return tuple(at for at, one in enumerate(self.classes) if not one.support)

    @property
    def never_predicted(self) -> tuple[int, ...]:
        """Classes that are there and were never predicted, whose precision counts as 0."""
        return tuple(at for at, one in enumerate(self.classes) if one.support and not one.predicted)


def positives(predictions: Predictions, thresholds: Sequence[float]) -> np.ndarray:
    """(N, C) bool: the classes that are predicted, whose score is at least the threshold."""
    # In double precision, so that a threshold between two scores stays between them.
    return predictions.scores >= np.asarray(thresholds, np.float64)


def count(predictions: Predictions, thresholds: Sequence[float]) -> Counts:
    """Count what is right and wrong.

    Args:
        predictions: Of any samples, or none.
        thresholds: One a class.
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
    """All scores.

    Args:
        predictions: Of all samples.
        thresholds: One a class.

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
    """Micro and macro F1 of counts alone, as `score` has them: cheap enough for any validation."""
    support, predicted, hits = counts.support, counts.predicted, counts.true_positives
    return {
        "micro": float(_rates(support.sum(), predicted.sum(), hits.sum())[2]),
        "macro": _mean(_rates(support, predicted, hits)[2], support > 0),
    }


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the precision at each score, weighted by the recall that it adds.

    The sum over distinct scores, without interpolation, so that ties cannot be put in a favourable
    order (`average_precision_score` of scikit-learn).

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
    """What would be predicted with each distinct score as the threshold.

    Args:
        scores: (N,).
        truth: (N,) of 0 and 1.

    Returns:
        (M,) each: the distinct scores from the greatest down, how many are at least as great, and
        how many of those are positive.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else order
    return ranked[last], last + 1, np.cumsum(truth[order], dtype=np.int64)[last]


def _rates(support: np.ndarray, predicted: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """(3, ...): precision, recall and F1; NaN without support, 0 where nothing was predicted."""
    # Where support is 0, what is put for it does not matter.
    there = np.maximum(support, 1)
    found = (hits / np.maximum(predicted, 1), hits / there, 2 * hits / (there + predicted))
    return np.where(support > 0, np.stack(found), math.nan)


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    """The mean of what has weight, rounded once."""
    known = weights > 0
    return math.fsum((values * weights)[known]) / int(weights.sum())
