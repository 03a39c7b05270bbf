import os

import pytest

from decametre.training.ranks import Gpu, HostResources, assign_gpu, count_threads
from tests.training.team import together

CORES = tuple(range(8))


def seats(*found):
    return [HostResources(host, tuple(gpus), cores) for host, gpus, cores in found]


def test_each_gpu_of_a_machine_goes_to_one_rank():
    every = [Gpu(0, "a"), Gpu(1, "b")]
    found = seats(
        ("x", every, CORES), ("x", every, CORES), ("x", every, CORES), ("y", every, CORES)
    )
    assert [assign_gpu(found[:3], rank) for rank in range(3)] == [0, 1, None]


def test_a_launcher_that_shows_each_rank_its_own_gpu():
    found = seats(*((host, [Gpu(0, uuid)], CORES) for host, uuid in ("xa", "xb", "yc")))
    assert [assign_gpu(found, rank) for rank in range(3)] == [0, 0, 0]


def test_ranks_on_cpus_divide_their_common_cores():
    found = seats(
        ("x", [], CORES), ("x", [], CORES), ("x", [], (8, 9)), ("y", [], CORES), ("x", [], (10,))
    )
    assert [count_threads(found, rank) for rank in range(5)] == [4, 4, 2, 8, 1]


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
