import math
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_average_precision,
    multilabel_average_precision,
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
    multilabel_stat_scores,
)

from decametre.errors import EvaluationError
from decametre.landcover.metrics.scores import (
    AVERAGES,
    average_precision,
    count,
    curve,
    f1,
    merge_predictions,
    score,
)
from tests.landcover.metrics.multilabel_samples import drawn, part, predictions
from tests.training.team import together

HALF = (0.5,) * 3

BY_HAND = predictions(
    # Classes:  a    b    c
    [
        [0.9, 0.6, 0.2],
        [0.4, 0.8, 0.1],
        [0.7, 0.3, 0.5],
        [0.2, 0.1, 0.3],
    ],
    [
        [1, 0, 0],
        [1, 1, 0],
        [1, 0, 0],
        [0, 1, 0],
    ],
)
"""Right: a in 1 and 3, b in 2. Missed: a in 2, b in 4. In error: b in 1, c in 3. No c at all."""


def rates(found):
    return [found.precision, found.recall, found.f1]


def test_classes_by_hand():
    found = score(BY_HAND, HALF)
    a, b, c = found.classes
    assert (a.support, a.predicted, b.support, b.predicted) == (3, 2, 2, 2)
    assert rates(a.rates) == pytest.approx([2 / 2, 2 / 3, 4 / 5])
    assert rates(b.rates) == pytest.approx([1 / 2, 1 / 2, 2 / 4])
    # a: 0.9 yes, 0.7 yes, 0.4 yes: precision 1 at each.
    assert a.rates.average_precision == 1
    # b: 0.8 yes, 0.6 no, 0.3 no, 0.1 yes: precision 1/1 and 2/4, recall 1/2 each.
    assert b.rates.average_precision == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert (c.support, c.predicted) == (0, 1)
    assert all(map(math.isnan, (*rates(c.rates), c.rates.average_precision)))
    assert found.without_support == (2,)


def test_averages_by_hand():
    found = score(BY_HAND, HALF).averages
    # Right 3, in error 2, missed 2.
    assert rates(found["micro"]) == pytest.approx([3 / 5, 3 / 5, 6 / 10])
    # Of all scores, with + for a yes: .9+ .8+ .7+ .6 .5 .4+ (.3 .3) (.2 .2) (.1+ .1)
    by_hand = (1 / 1 + 2 / 2 + 3 / 3 + 4 / 6 + 5 / 12) / 5
    assert found["micro"].average_precision == pytest.approx(by_hand)
    # Class c does not count.
    assert rates(found["macro"]) == pytest.approx([(1 + 1 / 2) / 2, (2 / 3 + 1 / 2) / 2, 0.65])
    assert found["macro"].average_precision == pytest.approx((1 + 3 / 4) / 2)
    assert rates(found["weighted"]) == pytest.approx([4 / 5, 3 / 5, (3 * 0.8 + 2 * 0.5) / 5])
    assert found["weighted"].average_precision == pytest.approx((3 * 1 + 2 * 3 / 4) / 5)
    # Samples: 1 of 2 and 1 of 1; 1 of 1 and 1 of 2; 1 of 2 and 1 of 1; nothing for the last.
    assert rates(found["samples"]) == pytest.approx([2 / 4, (1 + 1 / 2 + 1) / 4, 3 * (2 / 3) / 4])
    assert math.isnan(found["samples"].average_precision)


def test_counts_by_hand():
    found = count(BY_HAND, HALF)
    assert found.true_positives.tolist() == [2, 1, 0]
    assert found.false_positives.tolist() == [0, 1, 1]
    assert found.false_negatives.tolist() == [1, 1, 0]
    assert found.true_negatives.tolist() == [1, 1, 3]
    assert found.per_sample == {(1, 2, 1): 2, (2, 1, 1): 1, (1, 0, 0): 1}
    assert f1(found) == pytest.approx({"micro": 0.6, "macro": 0.65})


def test_a_class_that_is_there_but_never_predicted_counts_as_0():
    found = score(BY_HAND, (0.5, 0.9, 0.5))
    assert rates(found.classes[1].rates) == [0, 0, 0]
    assert found.never_predicted == (1,)
    assert rates(found.averages["macro"]) == pytest.approx([1 / 2, 1 / 3, 0.4])


def test_samples_without_a_class_are_excluded_and_counted():
    more = predictions(
        np.vstack([BY_HAND.scores, [[0.9, 0, 0], [0, 0, 0]]]),
        np.vstack([BY_HAND.truth, np.zeros((2, 3))]),
    )
    found, before = score(more, HALF), score(BY_HAND, HALF)
    assert (found.samples, found.unlabelled, before.unlabelled) == (6, 2, 0)
    assert found.averages["samples"].f1 == before.averages["samples"].f1
    # What was predicted there is wrong all the same.
    assert found.averages["micro"].precision == pytest.approx(3 / 6)


def test_a_score_at_the_threshold_is_a_yes():
    one = predictions([[0.5, 0.4999]], [[1, 1]])
    assert count(one, (0.5, 0.5)).true_positives.tolist() == [1, 0]


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.777])
def test_as_torchmetrics_where_all_classes_have_support(ties, threshold):
    mine = drawn(samples=500, ties=ties)
    found = score(mine, (threshold,) * 7)
    # Theirs is a yes above the threshold only, so they get ours.
    yes = torch.from_numpy((mine.scores >= np.float64(threshold)).astype(np.int64))
    scores, truth = torch.from_numpy(mine.scores), torch.from_numpy(mine.truth).long()
    counts = count(mine, (threshold,) * 7)
    theirs = multilabel_stat_scores(yes, truth, 7, average=None).T.tolist()
    assert theirs == [
        counts.true_positives.tolist(),
        counts.false_positives.tolist(),
        counts.true_negatives.tolist(),
        counts.false_negatives.tolist(),
        counts.support.tolist(),
    ]
    functions = (multilabel_precision, multilabel_recall, multilabel_f1_score)
    for average in ("micro", "macro", "weighted"):
        theirs = [float(f(yes, truth, 7, average=average)) for f in functions]
        assert rates(found.averages[average]) == pytest.approx(theirs, rel=1e-5)
        theirs = multilabel_average_precision(scores, truth, 7, average=average)
        assert found.averages[average].average_precision == pytest.approx(float(theirs), rel=1e-5)
    labelled = truth.any(dim=1)
    each = (yes[labelled][..., None], truth[labelled][..., None], 7)
    options = {"average": "micro", "multidim_average": "samplewise"}
    theirs = [float(f(*each, **options).mean()) for f in functions]
    assert rates(found.averages["samples"]) == pytest.approx(theirs, rel=1e-5)
    for at, one in enumerate(found.classes):
        theirs = binary_average_precision(scores[:, at], truth[:, at])
        assert one.rates.average_precision == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_torchmetrics_takes_a_class_without_support_as_0():
    """Why ours is not theirs; if this changes, docs/landcover.md must."""
    scores, truth = torch.from_numpy(BY_HAND.scores), torch.from_numpy(BY_HAND.truth).long()
    ours = score(BY_HAND, HALF).averages["macro"]
    # All of theirs lie at or above 0.5, which for them is a no at 0.5.
    yes = (scores >= 0.5).long()
    assert float(multilabel_f1_score(yes, truth, 3)) == pytest.approx(ours.f1 * 2 / 3)
    theirs = float(multilabel_average_precision(scores, truth, 3))
    assert theirs == pytest.approx(ours.average_precision * 2 / 3)


def brute_force(scores, truth):
    """Average precision by its definition: every distinct score is a threshold."""
    found, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        yes = scores >= threshold
        recall = truth[yes].sum() / truth.sum()
        found += (recall - before) * truth[yes].mean()
        before = recall
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=30))
def test_average_precision_by_its_definition(pairs):
    scores = np.array([value / 6 for value, _ in pairs], np.float32)
    truth = np.array([yes for _, yes in pairs], np.uint8)
    if truth.any():
        expected = pytest.approx(brute_force(scores, truth), rel=1e-12)
        assert average_precision(scores, truth) == expected
        # Neither ties nor the order matter, to the last bit.
        back = average_precision(scores[::-1], truth[::-1])
        assert back == average_precision(scores, truth)
    else:
        assert math.isnan(average_precision(scores, truth))


def test_average_precision_without_skill():
    truth = np.array([1, 0, 0, 1, 0], np.uint8)
    assert average_precision(np.full(5, 0.3, np.float32), truth) == pytest.approx(2 / 5)


def test_curve():
    distinct, predicted, hits = curve(
        np.array([0.5, 0.25, 0.5, 0.75], np.float32), np.array([1, 1, 0, 0], np.uint8)
    )
    assert distinct.tolist() == [0.75, 0.5, 0.25]
    assert predicted.tolist() == [1, 3, 4]
    assert hits.tolist() == [0, 1, 2]


def bits(found):
    """Everything in a score, so that equal means equal to the last bit and NaN equals NaN."""
    return repr(found)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=60, max_size=60),
    st.permutations(range(60)),
    st.lists(st.integers(0, 59), max_size=10),
)
def test_any_split_over_ranks_gives_the_same_bits(ranks, order, padding):
    """Five ranks, any of which may be empty; the last pads its part with samples of others."""
    whole = drawn(samples=60, classes=4)
    thresholds = (0.5, 0.25, 0.4, 0.9)
    rows = [[at for at in order if ranks[at] == rank] for rank in range(5)]
    counts = reduce(add, [count(part(whole, mine), thresholds) for mine in rows])
    once = count(whole, thresholds)
    assert f1(counts) == f1(once)
    for field in ("true_positives", "false_positives", "false_negatives", "true_negatives"):
        assert np.array_equal(getattr(counts, field), getattr(once, field))
    assert counts.per_sample == once.per_sample
    rows[4] += padding
    parts = merge_predictions([part(whole, mine) for mine in rows], 60)
    assert bits(score(parts, thresholds)) == bits(score(whole, thresholds))


def scores_of_ranks(ranks):
    whole = drawn(samples=101, classes=5)
    first, end = ((0, 40), (40, 40), (40, 101))[ranks.rank]
    mine = part(whole, range(first, end))
    return bits(score(merge_predictions(ranks.gather(mine), 101), (0.5,) * 5))


@pytest.mark.slow
def test_real_ranks_one_of_which_has_nothing(tmp_path):
    alone = bits(score(drawn(samples=101, classes=5), (0.5,) * 5))
    assert together(scores_of_ranks, 3, tmp_path) == [alone] * 3


def test_f1_of_counts_is_that_of_scores():
    whole = drawn()
    found = score(whole, (0.4,) * 7)
    assert f1(count(whole, (0.4,) * 7)) == {
        name: found.averages[name].f1 for name in ("micro", "macro")
    }


def test_identities():
    found = score(drawn(), (0.5,) * 7)
    assert tuple(found.averages) == AVERAGES
    # Weighted by support, the classes' recalls are the recall of all.
    assert found.averages["weighted"].recall == pytest.approx(found.averages["micro"].recall)
    whole = drawn()
    perfect = score(predictions(whole.truth, whole.truth), (0.5,) * 7)
    assert all(
        rates(perfect.averages[name]) == [1, 1, 1]
        and perfect.averages[name].average_precision in (1, pytest.approx(math.nan, nan_ok=True))
        for name in AVERAGES
    )


def test_lost_and_mixed_up_samples_are_noticed():
    whole = drawn(samples=10)
    with pytest.raises(ValueError, match="9 of 10"):
        merge_predictions([part(whole, range(9))], 10)
    # Ranks that number their samples from 0 each.
    other = predictions(whole.scores, 1 - whole.truth)
    with pytest.raises(ValueError, match="different true classes"):
        merge_predictions([whole, other], 10)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.01, 1.01])
def test_scores_that_are_none(value):
    scores = np.full((4, 2), 0.5)
    scores[2, 1] = value
    with pytest.raises(EvaluationError, match=r"sample 12, class 1, is not in 0\.\.1 \(1 such"):
        predictions(scores, np.zeros((4, 2)), indices=range(10, 14))


def test_shapes_and_types_are_ours_to_keep():
    with pytest.raises(ValueError, match="indices"):
        predictions(np.zeros((3, 2)), np.zeros((3, 2)), indices=range(2))
    with pytest.raises(ValueError, match="truth of 2"):
        predictions(np.zeros((1, 2)), [[0, 2]])


@pytest.mark.parametrize("samples", [0, 3])
def test_nothing_to_score(samples):
    empty = predictions(np.zeros((samples, 2)), np.zeros((samples, 2)))
    assert count(empty, (0.5, 0.5)).samples == samples
    with pytest.raises(EvaluationError, match=f"none of the {samples} samples has a class"):
        score(empty, (0.5, 0.5))
