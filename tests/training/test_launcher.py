import pytest

from decametre.errors import TrainingError
from decametre.training.launcher import Place, first_host, place_of

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


def test_a_process_on_its_own():
    assert place_of({}) == Place(0, 1, "")
    # A batch script has the job's variables, and is no task of srun.
    assert place_of({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == Place()


def test_torchrun_says_it_all():
    assert place_of(TORCHRUN) == Place(3, 8, "gpu1:2000")
    assert place_of(SRUN | TORCHRUN) == Place(3, 8, "gpu1:2000")


def test_srun_says_it_in_its_own_words():
    assert place_of(SRUN) == Place(5, 9, "gpu03:29634")


def test_two_steps_of_a_job_do_not_meet():
    assert place_of(SRUN | {"SLURM_STEP_ID": "1"}).address == "gpu03:29635"


def test_a_heterogeneous_job_gives_size_and_host_itself():
    place = place_of(SRUN | {"WORLD_SIZE": "12", "RANK": "10", "MASTER_ADDR": "gpu00"})
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
def test_the_first_of_slurms_nodes(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RANK": "1"}, "WORLD_SIZE is not set"),
        ({**TORCHRUN, "RANK": "one"}, "RANK=one is no number"),
        ({**SRUN, "SLURM_STEP_NODELIST": ""}, "MASTER_ADDR"),
        ({**SRUN, "SLURM_STEP_NODELIST": "rack[1-2]n[1-4]"}, "MASTER_ADDR"),
    ],
)
def test_what_is_missing_is_named(variables, said):
    with pytest.raises(TrainingError, match=said):
        place_of(variables)
