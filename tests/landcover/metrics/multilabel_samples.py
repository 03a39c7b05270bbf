"""Synthetic predictions for tests."""

import numpy as np

from decametre.landcover.metrics.scores import Predictions


def predictions(scores, truth, indices=None):
    scores = np.asarray(scores, np.float32)
    if indices is None:
        indices = np.arange(len(scores))
    return Predictions(
        np.asarray(indices, np.int64), scores, np.asarray(truth, np.uint8).reshape(scores.shape)
    )


def drawn(samples=200, classes=7, seed=0, ties=True):
    """Scores that are better than chance; with ties, of two digits only."""
    random = np.random.default_rng(seed)
    truth = random.random((samples, classes)) < np.linspace(0.05, 0.6, classes)
    logits = random.normal(size=truth.shape) + 2 * truth - 1
    scores = 1 / (1 + np.exp(-logits))
    return predictions(np.round(scores, 2) if ties else scores, truth)


def part(whole, rows):
    """Some samples of them."""
    rows = np.asarray(rows, np.int64)
    return Predictions(whole.indices[rows], whole.scores[rows], whole.truth[rows])
