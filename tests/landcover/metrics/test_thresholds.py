import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decametre.errors import ModelError, UnknownNameError
from decametre.landcover.metrics.scores import score
from decametre.landcover.metrics.thresholds import (
    best_threshold,
    fixed,
    from_record,
    record,
    tuned,
)
from tests.landcover.metrics.multilabel_samples import drawn, predictions

NAMES = ("water", "forest", "snow")


def best(scores, truth):
    return best_threshold(np.array(scores, np.float32), np.array(truth, np.uint8))


def test_between_the_scores_that_it_separates():
    assert best([0.875, 0.75, 0.25, 0.125], [1, 1, 0, 0]) == 0.5
    assert best([0.25, 0.125, 0.0625], [1, 0, 0]) == (0.25 + 0.125) / 2


def test_the_greatest_f1_by_hand():
    # Yes from 0.9: F1 2/4; from 0.8: 2/5; from 0.7: 4/6; from 0.6: 6/7; from 0.1: 6/8.
    assert best([0.9, 0.8, 0.7, 0.6, 0.1], [1, 0, 1, 1, 0]) == pytest.approx(0.35)


def test_equal_scores_are_predicted_together():
    # From 0.75 on: F1 2/3. Half of the tie would do better, but cannot be had.
    assert best([0.75, 0.75, 0.25], [1, 0, 0]) == 0.5
    assert best([0.25, 0.25, 0.25], [1, 0, 0]) == 0.125


def test_of_equally_good_ones_the_nearest_to_a_half():
    # F1 2/3 with the first alone (1 of 1, 1 of 2) and with all (2 of 4, 2 of 2).
    assert best([1.0, 0.75, 0.75, 0.5], [1, 0, 0, 1]) == 0.5 / 2
    assert best([0.875, 0.75, 0.375, 0.25], [1, 0, 0, 1]) == (0.875 + 0.75) / 2


def test_all_positive_and_none():
    # Anything below the least score: between it and 0.
    assert best([0.5, 0.75], [1, 1]) == 0.25
    assert best([0.0, 0.0], [1, 1]) == 0
    assert math.isnan(best([0.5, 0.75], [0, 0]))
    assert math.isnan(best([], []))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=25))
def test_no_other_threshold_does_better(pairs):
    whole = predictions([[value / 8] for value, _ in pairs], [[yes] for _, yes in pairs])
    if whole.truth.any():
        found = tuned(whole, "per_class")
        reached = score(whole, found.values).averages["macro"].f1
        others = [score(whole, (t / 80,)).averages["macro"].f1 for t in range(81)]
        assert reached >= max(others)


def test_per_class_and_global():
    whole = drawn(samples=400)
    half, one, each = (
        score(whole, thresholds.values).averages
        for thresholds in (fixed(7), tuned(whole, "global"), tuned(whole, "per_class"))
    )
    assert len(set(tuned(whole, "global").values)) == 1
    assert one["micro"].f1 > half["micro"].f1
    assert each["macro"].f1 > max(one["macro"].f1, half["macro"].f1)


def test_a_class_without_positives_keeps_a_half():
    whole = predictions([[0.25, 0.9, 0.1], [0.125, 0.8, 0.1]], [[1, 0, 0], [0, 0, 0]])
    found = tuned(whole, "per_class")
    assert found.values == (0.1875, 0.5, 0.5)
    assert found.untuned == (1, 2)
    none = predictions(whole.scores, np.zeros((2, 3)))
    assert tuned(none, "global").values == (0.5, 0.5, 0.5)
    assert tuned(none, "global").untuned == (0, 1, 2)


def test_an_unknown_rule():
    with pytest.raises(UnknownNameError, match="per_class"):
        tuned(drawn(), "per-class")


def test_a_record_passes_through_json_exactly():
    whole = drawn(classes=3, ties=False)
    found = tuned(whole, "per_class")
    read = from_record(json.loads(json.dumps(record(found, NAMES))), NAMES, "card.json")
    assert read == found
    # Of the same classes in another order, the values go with the names.
    turned = from_record(record(found, NAMES), NAMES[::-1], "card.json")
    assert turned.values == found.values[::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "best"}, "need 'rule'"),
        ({"values": [0.5]}, "need 'rule'"),
        ({"values": {"water": 0.5, "forest": 0.5}}, "'snow' is in one only"),
        ({"values": dict.fromkeys([*NAMES, "ice"], 0.5)}, "'ice' is in one only"),
        ({"values": dict.fromkeys(NAMES, 1.5)}, r"threshold of 'water' is 1\.5"),
        ({"values": dict.fromkeys(NAMES, "low")}, "threshold of 'water' is 'low'"),
        ({"values": dict.fromkeys(NAMES, math.nan)}, "threshold of 'water' is nan"),
        ({"untuned": ["ice"]}, "'ice' is in one only"),
    ],
)
def test_an_invalid_record_is_an_error(change, message):
    with pytest.raises(ModelError, match=rf"^card\.json: .*{message}"):
        from_record(record(fixed(3), NAMES) | change, NAMES, "card.json")
    with pytest.raises(ModelError, match=r"found None"):
        from_record(None, NAMES, "card.json")
