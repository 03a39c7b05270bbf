"""Calibration of probabilities by one temperature (Guo et al. 2017, arXiv 1706.04599).

A network whose probabilities are too confident is corrected by dividing its logits by a temperature
above 1. One temperature serves all classes, so the order of scores within a class does not change.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from decametre.landcover.metrics.scores import Predictions

NEAREST = 1e-7
"""Distance of the most confident probability from 0 and 1, which have no logit."""

RANGE = 0.05, 20.0
"""Smallest and largest temperature."""

BINS = 15
"""Intervals of probability over which `calibration_error` averages, as in Guo et al."""


def temperature_of(predictions: Predictions) -> float:
    """The temperature for which the log loss of a validation split is least.

    Args:
        predictions: Predictions of the split, at least one.
    """
    logits = _logits(predictions)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        # The log loss of a sigmoid, without overflow.
        return float((np.logaddexp(0, scaled) - predictions.truth * scaled).mean())

    low, high = np.log(RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def calibrated(predictions: Predictions, temperature: float) -> Predictions:
    """The same predictions with their logits divided by a temperature."""
    return replace(predictions, scores=expit(_logits(predictions) / temperature).astype(np.float32))


def calibration_error(predictions: Predictions) -> float:
    """Expected calibration error over all samples and classes, 0 to 1.

    The mean, weighted by the number of scores in each of `BINS` intervals, of the difference
    between the mean probability and the share of positives.
    """
    scores, truth = predictions.scores.ravel().astype(np.float64), predictions.truth.ravel()
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    difference = np.bincount(bins, scores - truth, BINS)
    return float(np.abs(difference).sum() / max(1, scores.size))


def log_loss(predictions: Predictions) -> float:
    """Mean binary cross-entropy over all samples and classes, in nats."""
    logits = _logits(predictions)
    return float((np.logaddexp(0, logits) - predictions.truth * logits).mean())


def _logits(predictions: Predictions) -> np.ndarray:
    clipped = predictions.scores.astype(np.float64).clip(NEAREST, 1 - NEAREST)
    found: np.ndarray = logit(clipped)
    return found
