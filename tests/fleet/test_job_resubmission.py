"""Jobs of a batch system; stand-ins for its commands."""

import os
import time

import pytest

from decametre.errors import FleetError
from decametre.fleet import job_resubmission
from decametre.fleet.cluster_file import read_cluster_file
from decametre.fleet.engine import job_pool

TEXT = """
system: slurm
workers: 1
options: {cores: 1, memory: 1GiB, walltime: "00:10:00", interface: lo, queue: nope}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text(TEXT)
    return read_cluster_file(path)


def test_a_machine_without_the_command(file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(FleetError, match="sbatch: no such command on this machine"),
        job_pool(file, tmp_path / "logs", 1),
    ):
        pass


def test_a_queue_that_refuses_says_why_in_one_line(file, tmp_path, monkeypatch, caplog):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: nope' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(FleetError, match="takes no job of the cluster file: sbatch"),
        job_pool(file, tmp_path / "logs", 1),
    ):
        pass
    assert "Traceback" not in caplog.text


SBATCH = """#!/bin/bash
cd {state}
exec 9> lock && flock 9  # several are asked for at a time
count=$(($(cat count 2>/dev/null || echo 0) + 1))
echo $count > count
if grep -qx $count refused; then
    echo "sbatch: error: Batch job submission failed: Socket timed out" >&2
    exit 1
fi
sed 's/--preload [^ ]*//' "$1" > job.$count  # which would load torch
setsid bash job.$count > out.$count 2>&1 < /dev/null 9>&- &
echo $! > pid.$count
echo "Submitted batch job $count"
"""

SCANCEL = """#!/bin/bash
kill -KILL -- -$(cat {state}/pid.$1) 2>/dev/null  # as SLURM does after its KillWait
"""


class Batch:
    """Stand-ins for the commands of SLURM, which run jobs on this machine at once."""

    def __init__(self, state):
        self.state = state
        self.refuse()

    def refuse(self, *submissions):
        (self.state / "refused").write_text("".join(f"{each}\n" for each in submissions))

    @property
    def submissions(self):
        count = self.state / "count"
        return int(count.read_text() or 0) if count.exists() else 0


@pytest.fixture
def batch(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "state").mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        path = tmp_path / "bin" / name
        path.write_text(text.replace("{state}", str(tmp_path / "state")))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(job_resubmission, "RESUBMIT_INTERVAL", 0.5)
    return Batch(tmp_path / "state")


def cluster_file(folder, workers, more=""):
    path = folder / "slurm.yaml"
    path.write_text(
        f"system: slurm\nworkers: {workers}\noptions: {{cores: 1, memory: 1GiB, "
        f"walltime: '00:10:00', interface: lo{more}}}\n"
    )
    return read_cluster_file(path)


def wait_until(true):
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def workers(crew):
    return crew._client.scheduler_info(n_workers=-1)["workers"]


def test_a_job_in_the_place_of_one_that_ended_is_asked_for_until_it_is_taken(
    batch, tmp_path, caplog, capfd
):
    batch.refuse(2, 3)
    file = cluster_file(tmp_path, 1, ", worker_extra_args: [--lifetime, 1s, --no-nanny]")
    with job_pool(file, tmp_path / "logs", 9) as crew:
        wait_until(lambda: workers(crew))
        [first] = workers(crew)
        wait_until(lambda: workers(crew).keys() - {first})
    [warning] = caplog.messages
    assert warning.startswith(
        "a job is refused by the batch system: sbatch: error: Batch job submission failed: Socket "
        "timed out; it is asked for again every "
    )
    assert "Traceback" not in capfd.readouterr().err
    assert list((tmp_path / "logs").iterdir()) == []


def test_more_jobs_are_asked_for_until_they_are_taken(batch, tmp_path, caplog, capfd):
    batch.refuse(2, 3, 4)
    file = cluster_file(tmp_path, "{minimum: 1, maximum: 3}", ", worker_extra_args: [--no-nanny]")
    with job_pool(file, tmp_path / "logs", 9) as crew:
        wait_until(lambda: len(workers(crew)) == 3)
    assert batch.submissions == 6
    assert len(caplog.messages) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_job_that_ends_before_its_worker_comes(batch, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(job_resubmission, "WORKER_GRACE_SECONDS", 0.5)
    file = cluster_file(tmp_path, 2, ", job_script_prologue: [exit 3]")
    with job_pool(file, tmp_path / "logs", 9):
        wait_until(lambda: batch.submissions > 3)
    [warning] = caplog.messages
    assert warning.startswith(
        f"a job ended before its worker came; its output in {tmp_path / 'logs'} may say why"
    )
    assert list((tmp_path / "logs").iterdir()) == []


def test_jobs_that_all_end_before_their_workers_come(batch, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(job_resubmission, "WORKER_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(job_resubmission, "MAX_FAILED_JOBS", 3)
    file = cluster_file(tmp_path, 1, ", job_script_prologue: [exit 3]")
    said = r"3 jobs have ended before their workers came, .* output in .*logs may say why"
    with job_pool(file, tmp_path / "logs", 9) as crew:
        wait_until(lambda: crew.fault)
        with pytest.raises(FleetError, match=said):
            crew.workers()
    assert batch.submissions >= 3


def test_a_job_that_waits_is_left_waiting(batch, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(job_resubmission, "WORKER_GRACE_SECONDS", 0.5)
    file = cluster_file(tmp_path, 1, ", job_script_prologue: [sleep 60]")
    with job_pool(file, tmp_path / "logs", 9):
        time.sleep(4)
    assert batch.submissions == 1
    assert caplog.messages == []
    assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (", scheduler_options: {portt: 3}", "unexpected keyword argument 'portt'"),
        (", scheduler_options: {interface: ib99}", "'ib99' is not a valid network interface"),
        (", config_name: nope", "nope"),
    ],
)
def test_what_dask_does_not_take_is_one_line(more, said, batch, tmp_path, capfd):
    with (
        pytest.raises(FleetError, match="cluster file: dask-jobqueue does not take it: ") as error,
        job_pool(cluster_file(tmp_path, 1, more), tmp_path / "logs", 9),
    ):
        pass
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err
    assert batch.submissions == 0
