from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from decametre.bench.spans import common, length, union

WORK = [(0.0, 4.0), (6.0, 10.0)]
EXCHANGE = [(3.0, 7.0), (9.0, 12.0)]


def test_by_hand():
    assert union([(5, 6), (0, 2), (1, 3), (3, 4), (8, 8)]) == [(0, 4), (5, 6)]
    assert common(WORK, EXCHANGE) == [(3, 4), (6, 7), (9, 10)]
    assert length(common(WORK, EXCHANGE)) == 3
    assert length([(0, 2), (1, 3)]) == 3  # what is in both counts once
    assert common(WORK, []) == common([], WORK) == []
    assert common([(0, 1)], [(1, 2)]) == []
    assert common([(0, 10)], [(1, 2), (3, 4)]) == [(1, 2), (3, 4)]


spans = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 6)).map(lambda s: (s[0], s[0] + s[1]))
)


def moments(found):
    return {at for begin, end in found for at in range(begin, end)}


@given(spans, spans)
def test_as_sets_of_moments(first, second):
    assert moments(common(first, second)) == moments(first) & moments(second)
    assert moments(union(first)) == moments(first)
    assert length(first) == len(moments(first))
    found = union(first)
    assert all(a[1] < b[0] for a, b in pairwise(found))
