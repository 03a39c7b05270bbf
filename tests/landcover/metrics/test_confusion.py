import numpy as np
import pytest

from decametre.landcover.metrics.confusion import confusion, shares
from decametre.landcover.metrics.scores import count
from tests.landcover.metrics.multilabel_samples import drawn, part, predictions

A, B, C, D, NONE = range(5)


def of(*samples):
    """The matrix of samples given as (true classes, predicted classes)."""
    scores, truth = np.zeros((2, len(samples), 4))
    for row, (true, predicted) in enumerate(samples):
        truth[row, list(true)] = 1
        scores[row, list(predicted)] = 1
    return confusion(predictions(scores, truth), (0.5,) * 4)


def matrix(**cells):
    """For instance AB=0.5: half of a true A goes to B; N stands for none."""
    found = np.zeros((5, 5))
    for (true, predicted), value in cells.items():
        found["ABCDN".index(true), "ABCDN".index(predicted)] = value
    return found


@pytest.mark.parametrize(
    ("true", "predicted", "cells"),
    [
        # All right.
        ([A], [A], {"AA": 1}),
        ([A, B], [A, B], {"AA": 1, "BB": 1}),
        ([], [], {"NN": 1}),
        # Missed, and others in their place.
        ([A], [B], {"AB": 1}),
        ([A], [B, C], {"AB": 1 / 2, "AC": 1 / 2}),
        ([A, B], [C], {"AC": 1, "BC": 1}),
        ([A, B], [A, C, D], {"AA": 1, "BC": 1 / 2, "BD": 1 / 2}),
        ([A, B], [], {"AN": 1, "BN": 1}),
        ([], [A, B], {"NA": 1 / 2, "NB": 1 / 2}),
        # Missed, and nothing in error.
        ([A, B], [A], {"AA": 1, "BA": 1}),
        ([A, B, C], [A, B], {"AA": 1, "BB": 1, "CA": 1 / 2, "CB": 1 / 2}),
        # None missed, some in error.
        ([A], [A, B], {"AA": 1 / 2, "AB": 1 / 2}),
        ([A, B], [A, B, C], {"AA": 2 / 3, "BB": 2 / 3, "AC": 1 / 3, "BC": 1 / 3}),
        (
            [A, B],
            [A, B, C, D],
            {"AA": 2 / 4, "BB": 2 / 4, "AC": 1 / 4, "AD": 1 / 4, "BC": 1 / 4, "BD": 1 / 4},
        ),
    ],
)
def test_a_sample_by_hand(true, predicted, cells):
    assert of((true, predicted)) == pytest.approx(matrix(**cells))


def test_samples_add_up():
    samples = [([A], [A, B]), ([A, B], [A, C, D]), ([A], [B]), ([], [C])]
    assert of(*samples) == pytest.approx(sum(of(sample) for sample in samples))


def test_a_row_adds_up_to_the_support():
    whole, thresholds = drawn(samples=500), (0.5,) * 7
    found, counts = confusion(whole, thresholds), count(whole, thresholds)
    assert found[:-1].sum(axis=1) == pytest.approx(counts.support)
    assert found[-1].sum() == pytest.approx(counts.unlabelled)
    assert counts.unlabelled > 0


def test_with_one_class_a_sample_it_is_the_usual_matrix():
    random = np.random.default_rng(0)
    true, predicted = random.integers(0, 4, (2, 300))
    eye = np.eye(4)
    found = confusion(predictions(eye[predicted], eye[true]), (0.5,) * 4)
    usual = np.zeros((5, 5))
    np.add.at(usual, (true, predicted), 1)
    assert np.array_equal(found, usual)


def test_the_order_of_samples_changes_no_bit():
    whole, thresholds = drawn(samples=500), (0.3,) * 7
    mixed = part(whole, np.random.default_rng(0).permutation(500))
    assert np.array_equal(confusion(whole, thresholds), confusion(mixed, thresholds))


def test_shares():
    found = shares(matrix(AA=3, AB=1, NB=2))
    assert found[A].tolist() == [0.75, 0.25, 0, 0, 0]
    assert found[NONE].tolist() == [0, 1, 0, 0, 0]
    assert np.isnan(found[[B, C, D]]).all()
