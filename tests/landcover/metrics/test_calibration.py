import numpy as np
import pytest
from scipy.special import expit

from decametre.landcover.metrics.calibration import (
    calibrated,
    calibration_error,
    log_loss,
    temperature_of,
)
from decametre.landcover.metrics.scores import Predictions


def overconfident(factor, samples=4000, classes=3):
    """Scores whose logits are `factor` times the true ones."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (samples, classes))
    truth = (random.random((samples, classes)) < expit(logits)).astype(np.uint8)
    return Predictions(np.arange(samples), expit(factor * logits).astype(np.float32), truth)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(factor):
    predictions = overconfident(factor)
    temperature = temperature_of(predictions)
    assert temperature == pytest.approx(factor, rel=0.06)
    after = calibrated(predictions, temperature)
    assert log_loss(after) <= log_loss(predictions)
    assert calibration_error(after) < 0.02
    order = predictions.scores.argsort(axis=0)
    assert (np.diff(np.take_along_axis(after.scores, order, axis=0), axis=0) >= 0).all()


def test_the_calibration_error_of_one_bin_is_a_difference_of_means():
    scores = np.full((4, 1), 0.9, np.float32)
    truth = np.array([[1], [1], [0], [0]], np.uint8)
    assert calibration_error(Predictions(np.arange(4), scores, truth)) == pytest.approx(0.4)


def test_certain_scores_have_a_finite_loss():
    scores = np.array([[0.0], [1.0]], np.float32)
    truth = np.array([[1], [1]], np.uint8)
    predictions = Predictions(np.arange(2), scores, truth)
    assert np.isfinite(log_loss(predictions))
    assert np.isfinite(calibrated(predictions, 2.0).scores).all()
