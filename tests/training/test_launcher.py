import pytest

from decametre.errors import TrainingError
from decametre.training.launcher import RankInfo, first_host, read_rank_info

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "MASTER_ADDR": "gpu1",
    "MASTER_PORT": "2000",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "9",
    "SLURM_STEP_NODELIST": "gpu[03-05]",
    "SLURM_JOB_ID": "71234",
}


def test_a_single_process():
    assert read_rank_info({}) == RankInfo(0, 1, "")
    # A batch script has the job's variables, and is no task of srun.
    assert (
        read_rank_info({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"})
        == RankInfo()
    )


def test_the_variables_of_torchrun():
    assert read_rank_info(TORCHRUN) == RankInfo(3, 8, "gpu1:2000")
    assert read_rank_info(SRUN | TORCHRUN) == RankInfo(3, 8, "gpu1:2000")


def test_the_variables_of_srun():
    assert read_rank_info(SRUN) == RankInfo(5, 9, "gpu03:29634")


def test_two_steps_of_a_job_use_different_ports():
    assert read_rank_info(SRUN | {"SLURM_STEP_ID": "1"}).address == "gpu03:29635"


def test_a_heterogeneous_job_sets_size_and_host():
    place = read_rank_info(SRUN | {"WORLD_SIZE": "12", "RANK": "10", "MASTER_ADDR": "gpu00"})
    assert (place.rank, place.size, place.address) == (10, 12, "gpu00:29634")


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu03", "gpu03"),
        ("gpu03,cpu1", "gpu03"),
        ("gpu[03-05,09],cpu1", "gpu03"),
        ("gpu[7]", "gpu7"),
        ("rack1-[2,4]-ib", "rack1-2-ib"),
    ],
)
def test_the_first_host_of_a_slurm_node_list(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "1"}, "WORLD_SIZE is not set"),
        ({**TORCHRUN, "RANK": "one"}, "RANK=one is not a number"),
        ({**SRUN, "SLURM_STEP_NODELIST": ""}, "MASTER_ADDR"),
        ({**SRUN, "SLURM_STEP_NODELIST": "rack[1-2]n[1-4]"}, "MASTER_ADDR"),
    ],
)
def test_a_missing_variable_is_named(variables, message):
    with pytest.raises(TrainingError, match=message):
        read_rank_info(variables)
