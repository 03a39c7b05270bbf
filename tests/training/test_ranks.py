import os

import pytest

from tests.training.team import together


def what_passes(ranks):
    return {
        "sum": ranks.sum([1.0, ranks.rank]),
        "placed": ranks.sum(ranks.at_own_index(10.0 + ranks.rank)),
        "gathered": ranks.gather(ranks.rank * "x"),
        "from_first": ranks.broadcast(os.getpid()),
        "pid": os.getpid(),
        "devices": ranks.devices,
    }


def test_all_ranks_get_the_same_values(tmp_path):
    found = together(what_passes, 3, tmp_path)
    for mine in found:
        assert mine["sum"] == [3.0, 3.0]
        assert mine["placed"] == [10.0, 11.0, 12.0]
        assert mine["gathered"] == ["", "x", "xx"]
        assert mine["from_first"] == found[0]["pid"]
        assert len(mine["devices"]) == 3


def fail_on_the_last(ranks):
    if ranks.rank == ranks.size - 1:
        raise ValueError("this very rank")
    return ranks.sum([0.0])


def test_the_others_end_when_one_fails(tmp_path):
    with pytest.raises(AssertionError, match="another rank ended"):
        together(fail_on_the_last, 2, tmp_path)
