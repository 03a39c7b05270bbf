"""The workers of one machine."""

import pytest

from decametre.errors import FleetError
from decametre.fleet.local_workers import local_workers

GIB = 2**30


@pytest.fixture
def gpus(monkeypatch):
    """Set how many GPUs torch finds, and which ones the environment names."""

    def set_gpus(count, named=None):
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if named is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)

    set_gpus(0)
    return set_gpus


def shape(specs):
    return [(spec["threads"], spec["memory"] // GIB) for spec in specs]


def test_one_worker_per_few_cores_limited_by_memory(gpus):
    specs, words = local_workers(None, "auto", 4 * GIB, 16, 64 * GIB)
    assert shape(specs) == [(4, 16)] * 4
    assert words == "4 local workers of 4 threads"
    assert specs[0]["env"] == {
        "OMP_NUM_THREADS": "4",
        "MKL_NUM_THREADS": "4",
        "GDAL_NUM_THREADS": "4",
    }
    # A worker needs memory for two products.
    assert shape(local_workers(None, "auto", 15 * GIB, 16, 64 * GIB)[0]) == [(8, 32)] * 2
    specs, words = local_workers(None, "auto", 100 * GIB, 16, 64 * GIB)
    assert (shape(specs), words) == ([(16, 64)], "1 local worker of 16 threads")


def test_one_worker_on_a_small_machine(gpus):
    assert shape(local_workers(None, "auto", 5 * GIB, 2, 4 * GIB)[0]) == [(2, 4)]
    specs, words = local_workers(2, "auto", 5 * GIB, 2, 4 * GIB)
    assert (shape(specs), words) == ([(1, 2)] * 2, "2 local workers of 1 thread")
    assert shape(local_workers(4, "auto", GIB, 2, 4 * GIB)[0]) == [(1, 1)] * 4


def visible(specs):
    return [spec["env"].get("CUDA_VISIBLE_DEVICES") for spec in specs]


def test_one_worker_per_gpu(gpus):
    machine = 4 * GIB, 16, 64 * GIB
    gpus(4)
    specs, words = local_workers(None, "auto", *machine)
    assert visible(specs) == ["0", "1", "2", "3"]
    assert words == "4 local workers of a GPU and 4 threads"
    assert len(local_workers(2, "cuda", *machine)[0]) == 2
    assert visible(local_workers(None, "cpu", *machine)[0]) == [None] * 4
    gpus(2, named="5,GPU-abc")  # as a batch system sets them
    assert visible(local_workers(None, "auto", *machine)[0]) == ["5", "GPU-abc"]


@pytest.mark.parametrize(
    ("arguments", "count", "message"),
    [
        ((0, "auto"), 0, "--workers 0: give 1 or more"),
        ((3, "auto"), 2, "there are 2 GPUs"),
        ((None, "cuda"), 0, "torch finds no GPU"),
        ((None, "cuda:1"), 2, "--device cuda:1: a fleet takes auto, cpu or cuda"),
        ((None, "gpu"), 0, "--device gpu"),
    ],
)
def test_mistakes(gpus, arguments, count, message):
    gpus(count)
    with pytest.raises(FleetError, match=message):
        local_workers(*arguments, GIB, 8, 16 * GIB)
