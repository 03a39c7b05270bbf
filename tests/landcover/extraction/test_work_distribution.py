"""Every patch is assigned to one worker, and shares are as equal as the method allows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decametre.errors import PatchError
from decametre.landcover.extraction.work_distribution import (
    Piece,
    back_and_forth,
    distributions,
    longest_first,
)
from tests.landcover.bigearthnet.archives import DATA

COUNTS = st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 500), min_size=1)


@given(COUNTS, st.integers(1, 12))
def test_every_patch_once(counts, workers):
    if not sum(counts.values()):
        return
    for distribution in distributions(counts, workers):
        assert len(distribution.shares) == workers
        taken = [
            (piece.product, at)
            for share in distribution.shares
            for piece in share
            for at in range(piece.start, piece.stop)
        ]
        assert len(taken) == len(set(taken)) == sum(counts.values())
        assert {(name, at) for name, count in counts.items() for at in range(count)} == set(taken)


@given(COUNTS, st.integers(1, 12))
def test_bounds_of_the_methods(counts, workers):
    total = sum(counts.values())
    if not total:
        return
    by_method = {
        distribution.method: distribution for distribution in distributions(counts, workers)
    }
    equal = by_method["equal runs"].counts
    assert max(equal) - min(equal) <= 1
    # Graham's bound for handing out in any order: nobody begins a piece above the mean.
    longest = max(by_method["longest first"].counts)
    assert longest <= total / workers + max(counts.values())


def test_dealt_back_and_forth():
    pieces = [Piece(name, 0, size) for name, size in zip("abcdefg", range(70, 0, -10), strict=True)]
    shares = back_and_forth(pieces, 3)
    assert [[piece.product for piece in share] for share in shares] == [
        ["a", "f", "g"],
        ["b", "e"],
        ["c", "d"],
    ]


def test_longest_first_fills_the_emptiest():
    pieces = [Piece("a", 0, 7), Piece("b", 0, 5), Piece("c", 0, 4), Piece("d", 0, 3)]
    shares = longest_first(pieces, 2)
    assert [sum(map(len, share)) for share in shares] == [10, 9]


def test_order_of_the_products_makes_no_difference():
    counts = {"a": 5, "b": 5, "c": 9, "d": 1}
    turned = dict(reversed(counts.items()))
    assert distributions(counts, 3) == distributions(turned, 3)


def test_whole_products_are_preferred_where_they_balance_well():
    assert distributions({"a": 100, "b": 99}, 2)[0].method == "longest first"


def test_one_product_is_cut_for_several_workers():
    best = distributions({"a": 100}, 3)[0]
    assert best.method == "equal runs"
    assert best.shares == ((Piece("a", 0, 33),), (Piece("a", 33, 66),), (Piece("a", 66, 100),))


# Patches of each of the 115 products of BigEarthNet v2, from its metadata.parquet.
BIGEARTHNET = json.loads((DATA / "v2_counts.json").read_text())


@pytest.mark.parametrize(
    ("workers", "method", "imbalance"),
    [(8, "longest first", 1.0038), (16, "longest first", 1.0102), (72, "equal runs", 1.0001)],
)
def test_the_real_archive(workers, method, imbalance):
    assert sum(BIGEARTHNET.values()) == 480_038
    best = distributions(BIGEARTHNET, workers)[0]
    assert best.method == method
    assert best.imbalance == pytest.approx(imbalance, abs=1e-4)
    by_method = {each.method: each.imbalance for each in distributions(BIGEARTHNET, workers)}
    assert by_method["longest first"] <= by_method["back and forth"]


def test_nothing_to_spread():
    with pytest.raises(PatchError, match="no patch to distribute"):
        distributions({"a": 0}, 2)
    with pytest.raises(PatchError, match="0 workers"):
        distributions({"a": 1}, 0)
