"""Which workers one machine gets."""

import pytest

from decametre.errors import FleetError
from decametre.fleet import local
from decametre.fleet.local import local_workers

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """Makes this machine another."""

    def become(cores, memory, gpus=0):
        sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory // 4096}
        monkeypatch.setattr(local, "available_cores", lambda: cores)
        monkeypatch.setattr(local.os, "sysconf", sizes.__getitem__)
        monkeypatch.setattr(local.torch.cuda, "device_count", lambda: gpus)

    return become


def shape(specs):
    return [(spec["threads"], spec["memory"] // GIB) for spec in specs]


def test_a_worker_for_every_few_cores_as_far_as_memory_goes(machine):
    machine(16, 64 * GIB)
    specs, words = local_workers(None, "auto", 4 * GIB)
    assert shape(specs) == [(4, 16)] * 4
    assert words == "4 local workers of 4 threads"
    assert specs[0]["env"] == {
        "OMP_NUM_THREADS": "4",
        "MKL_NUM_THREADS": "4",
        "GDAL_NUM_THREADS": "4",
    }
    specs, _ = local_workers(None, "auto", 30 * GIB)
    assert shape(specs) == [(8, 32)] * 2
    specs, words = local_workers(None, "auto", 100 * GIB)
    assert (shape(specs), words) == ([(16, 64)], "1 local worker of 16 threads")


def test_a_small_machine_gets_one(machine):
    machine(2, 4 * GIB)
    assert shape(local_workers(None, "auto", 5 * GIB)[0]) == [(2, 4)]
    specs, words = local_workers(2, "auto", 5 * GIB)
    assert (shape(specs), words) == ([(1, 2)] * 2, "2 local workers of 1 thread")
    assert shape(local_workers(4, "auto", GIB)[0]) == [(1, 1)] * 4


def test_a_worker_for_every_gpu_which_it_alone_sees(machine):
    machine(16, 64 * GIB, gpus=4)
    specs, words = local_workers(None, "auto", 4 * GIB)
    assert [spec["env"]["CUDA_VISIBLE_DEVICES"] for spec in specs] == ["0", "1", "2", "3"]
    assert words == "4 local workers of a GPU and 4 threads"
    assert len(local_workers(2, "cuda", 4 * GIB)[0]) == 2
    on_processor, _ = local_workers(None, "cpu", 4 * GIB)
    assert "CUDA_VISIBLE_DEVICES" not in on_processor[0]["env"]


@pytest.mark.parametrize(
    ("arguments", "gpus", "words"),
    [
        ((0, "auto"), 0, "--workers 0: give 1 or more"),
        ((3, "auto"), 2, "there are 2 GPUs"),
        ((None, "cuda"), 0, "torch sees no GPU"),
        ((None, "cuda:1"), 2, "--device cuda:1: a fleet takes auto, cpu or cuda"),
        ((None, "gpu"), 0, "--device gpu"),
    ],
)
def test_mistakes(machine, arguments, gpus, words):
    machine(8, 16 * GIB, gpus)
    with pytest.raises(FleetError, match=words):
        local_workers(*arguments, GIB)
