"""Multi-label confusion matrix of Krstinić et al. (2020).

D. Krstinić, M. Braović, L. Šerić, D. Božić-Štulić. Multi-label classifier performance evaluation
with confusion matrix. CS & IT 10(8), 2020, doi:10.5121/csit.2020.100801.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decametre.landcover.metrics.scores import Predictions, positives

NONE = "no class"
"""Name of the last row, of samples without a class, and of the last column, of samples without a
prediction."""


def confusion(predictions: Predictions, thresholds: Sequence[float]) -> np.ndarray:
    r"""Compute the multi-label confusion matrix.

    With T the true and P the predicted classes of a sample (`NONE` where there are none), each
    class of T gives 1 to its row, so that a row adds up to the class's support:

    * T = P: to itself.
    * Some missed, others predicted in error: a class that was found to itself, one that was missed
      in equal parts to those in error, P \ T.
    * Some missed, none in error: a class that was found to itself, one that was missed in equal
      parts to P.
    * None missed, some in error: |T| / |P| to itself, 1 / |P| to each of P \ T.

    Args:
        predictions: Predictions of any samples.
        thresholds: One threshold per class.

    Returns:
        (C + 1, C + 1) float64: rows are true classes, columns predicted ones. The bits
        do not depend on the order of the samples.
    """
    truth = _with_none(predictions.truth.astype(bool))
    predicted = _with_none(positives(predictions, thresholds))
    missed, wrong = truth & ~predicted, predicted & ~truth
    some_missed, some_wrong = missed.any(axis=1), wrong.any(axis=1)
    excess = some_wrong & ~some_missed
    # The classes whose 1 is divided, the classes that get a part, and the number of parts.
    givers = np.where(excess[:, None], truth, missed)
    takers = np.where(some_wrong[:, None], wrong, predicted)
    parts = np.where(excess | ~some_wrong, predicted.sum(axis=1), wrong.sum(axis=1))
    found = np.diag((truth & predicted)[~excess].sum(axis=0).astype(np.float64))
    divided = some_missed | some_wrong
    for number in np.unique(parts[divided]):
        here = divided & (parts == number)
        # Sums of integers are exact in any order; the division comes last.
        given = givers[here].astype(np.float64).T @ takers[here].astype(np.float64)
        kept = truth[here & excess]
        given += np.diag((kept * kept.sum(axis=1, keepdims=True)).sum(axis=0))
        found += given / number
    return found


def shares(matrix: np.ndarray) -> np.ndarray:
    """Divide rows by their sums; NaN in rows of classes that no sample has."""
    sums = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, sums, out=np.full_like(matrix, np.nan), where=sums > 0)


def _with_none(classes: np.ndarray) -> np.ndarray:
    """Append a column for rows without a class."""
    return np.column_stack([classes, ~classes.any(axis=1)])
