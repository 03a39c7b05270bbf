from decametre.training.host_resources import Gpu, HostResources, assign_gpu, count_threads

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
