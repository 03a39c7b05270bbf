from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decametre.training.order import EndlessOrder, EpochOrder, micro_batches


def all_ranks(samples, shares, size=None):
    return [micro_batches(samples, shares, rank, size) for rank in range(len(shares))]


@given(
    shares=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    size=st.sampled_from([None, 1, 2, 3]),
    short=st.integers(0, 60),
)
def test_every_sample_goes_to_one_rank_whatever_the_shares(shares, size, short):
    shares = [share * (size or 1) for share in shares]
    samples = range(100, 100 + max(1, sum(shares) - short))
    parts = [part for mine in all_ranks(samples, shares, size) for part in mine]
    assert [sample for part in parts for sample in part] == list(samples)
    if size:
        # Where a micro-batch begins does not depend on who takes it.
        assert [list(part) for part in parts] == [
            list(samples[begin : begin + size]) for begin in range(0, len(samples), size)
        ]


@pytest.mark.parametrize("shares", [[8], [4, 4], [5, 2, 1], [0, 8]])
def test_a_full_batch_is_divided_by_the_shares(shares):
    mine = all_ranks(range(8), shares)
    assert [sum(map(len, parts)) for parts in mine] == shares
    assert all(len(parts) <= 1 for parts in mine)


def test_endless_numbers_never_repeat():
    order = EndlessOrder(batch=4)
    assert list(order.samples(0)) == [0, 1, 2, 3]
    assert list(order.samples(5)) == [20, 21, 22, 23]


def test_an_epoch_holds_every_sample_once_while_shares_change():
    order = EpochOrder(count=23, batch=8, seed=5)
    assert order.steps == 3
    seen, epochs = Counter(), []
    for epoch in range(4):
        drawn = []
        for step in range(order.steps):
            shares = [[8], [5, 3], [1, 6, 1]][(epoch + step) % 3]
            samples = order.samples(epoch * order.steps + step)
            assert len(samples) == (8 if step < 2 else 7)
            drawn += [s for mine in all_ranks(samples, shares) for part in mine for s in part]
        seen.update(sample % 23 for sample in drawn)
        assert {sample // 23 for sample in drawn} == {epoch}
        epochs.append([sample % 23 for sample in drawn])
    assert seen == Counter(dict.fromkeys(range(23), 4))
    assert len({tuple(drawn) for drawn in epochs}) == 4
    assert EpochOrder(23, 8, 5).samples(4) == order.samples(4)
    assert EpochOrder(23, 8, 6).samples(4) != order.samples(4)
