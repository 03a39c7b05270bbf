"""Which workers one machine gets."""

import pytest

from decametre.errors import FleetError
from decametre.fleet.local_workers import local_workers

GIB = 2**30


@pytest.fixture
def see(monkeypatch):
    """Lets torch see so many GPUs, of those that the environment names."""

    def gpus(count, named=None):
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if named is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)

    gpus(0)
    return gpus


def shape(specs):
    return [(spec["threads"], spec["memory"] // GIB) for spec in specs]


def test_a_worker_for_every_few_cores_as_far_as_memory_goes(see):
    specs, words = local_workers(None, "auto", 4 * GIB, 16, 64 * GIB)
    assert shape(specs) == [(4, 16)] * 4
    assert words == "4 local workers of 4 threads"
    assert specs[0]["env"] == {
        "OMP_NUM_THREADS": "4",
        "MKL_NUM_THREADS": "4",
        "GDAL_NUM_THREADS": "4",
    }
    # Each of two products that a worker has at a time needs its memory.
    assert shape(local_workers(None, "auto", 15 * GIB, 16, 64 * GIB)[0]) == [(8, 32)] * 2
    specs, words = local_workers(None, "auto", 100 * GIB, 16, 64 * GIB)
    assert (shape(specs), words) == ([(16, 64)], "1 local worker of 16 threads")


def test_a_small_machine_gets_one(see):
    assert shape(local_workers(None, "auto", 5 * GIB, 2, 4 * GIB)[0]) == [(2, 4)]
    specs, words = local_workers(2, "auto", 5 * GIB, 2, 4 * GIB)
    assert (shape(specs), words) == ([(1, 2)] * 2, "2 local workers of 1 thread")
    assert shape(local_workers(4, "auto", GIB, 2, 4 * GIB)[0]) == [(1, 1)] * 4


def visible(specs):
    return [spec["env"].get("CUDA_VISIBLE_DEVICES") for spec in specs]


def test_a_worker_for_every_gpu_which_it_alone_sees(see):
    machine = 4 * GIB, 16, 64 * GIB
    see(4)
    specs, words = local_workers(None, "auto", *machine)
    assert visible(specs) == ["0", "1", "2", "3"]
    assert words == "4 local workers of a GPU and 4 threads"
    assert len(local_workers(2, "cuda", *machine)[0]) == 2
    assert visible(local_workers(None, "cpu", *machine)[0]) == [None] * 4
    see(2, named="5,GPU-abc")  # those that a batch system gave
    assert visible(local_workers(None, "auto", *machine)[0]) == ["5", "GPU-abc"]


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
def test_mistakes(see, arguments, gpus, words):
    see(gpus)
    with pytest.raises(FleetError, match=words):
        local_workers(*arguments, GIB, 8, 16 * GIB)
