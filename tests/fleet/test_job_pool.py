"""Workers in jobs of a batch system, with scripts in place of its commands."""

import os
import signal

import pytest

from decametre.errors import FleetError
from decametre.fleet import job_resubmission
from decametre.fleet.cluster_file import read_cluster_file
from decametre.fleet.job_pool import job_pool
from tests.fleet.light import wait_until

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


def test_missing_submit_command(file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(FleetError, match="sbatch: no such command on this machine"),
        job_pool(file, tmp_path / "logs", 1),
    ):
        pass


def test_refusal_of_all_jobs_is_one_line(file, tmp_path, monkeypatch, caplog):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: nope' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(
            FleetError, match="sbatch refused all jobs of the cluster file: sbatch: error:"
        ),
        job_pool(file, tmp_path / "logs", 1),
    ):
        pass
    assert "Traceback" not in caplog.text


SBATCH = """#!/bin/bash
cd {state}
exec 9> lock && flock 9  # several jobs are submitted at a time
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
    """Scripts in place of SLURM's commands, which run jobs on this machine at once."""

    def __init__(self, state):
        self.state = state
        self.refuse()

    def refuse(self, *submissions):
        (self.state / "refused").write_text("".join(f"{each}\n" for each in submissions))

    def kill(self, submission):
        os.killpg(int((self.state / f"pid.{submission}").read_text()), signal.SIGKILL)

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
    monkeypatch.setattr(job_resubmission, "RESUBMIT_INTERVAL", 0.1)
    return Batch(tmp_path / "state")


def cluster_file(folder, workers, more=""):
    path = folder / "slurm.yaml"
    path.write_text(
        f"system: slurm\nworkers: {workers}\noptions: {{cores: 1, memory: 1GiB, "
        f"walltime: '00:10:00', interface: lo{more}}}\n"
    )
    return read_cluster_file(path)


def workers(pool):
    return pool._client.scheduler_info(n_workers=-1)["workers"]


@pytest.mark.slow
def test_refused_and_ended_jobs_are_submitted_again(batch, tmp_path, caplog, capfd):
    batch.refuse(2, 3, 5)
    more = ", worker_extra_args: [--no-nanny]"
    file = cluster_file(tmp_path, "{minimum: 1, maximum: 2}", more)
    with job_pool(file, tmp_path / "logs", 9) as pool:
        wait_until(lambda: len(workers(pool)) == 2)
        assert batch.submissions == 4
        before = set(workers(pool))
        batch.kill(1)
        wait_until(lambda: len(workers(pool).keys() & before) == 1 and len(workers(pool)) == 2)
    assert batch.submissions == 6
    [warning] = caplog.messages
    assert warning.startswith(
        "the batch system refused a job: sbatch: error: Batch job submission failed: Socket timed "
        "out; it is resubmitted every "
    )
    assert "Traceback" not in capfd.readouterr().err
    assert list((tmp_path / "logs").iterdir()) == []


def test_jobs_that_all_end_before_their_workers_connect(batch, tmp_path, monkeypatch):
    monkeypatch.setattr(job_resubmission, "WORKER_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(job_resubmission, "MAX_FAILED_JOBS", 2)
    file = cluster_file(tmp_path, 1, ", job_script_prologue: [exit 3]")
    with job_pool(file, tmp_path / "logs", 9) as pool:
        wait_until(lambda: pool.fault)
        with pytest.raises(FleetError, match=r"2 jobs ended before .* see their output in .*logs"):
            pool.workers()
    assert batch.submissions >= 2
    assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", scheduler_options: {portt: 3}", "unexpected keyword argument 'portt'"),
        (", scheduler_options: {interface: ib99}", "'ib99' is not a valid network interface"),
        (", config_name: nope", "nope"),
    ],
)
def test_options_that_dask_jobqueue_rejects(more, message, batch, tmp_path, capfd):
    with (
        pytest.raises(FleetError, match="cluster file: dask-jobqueue rejects it: ") as error,
        job_pool(cluster_file(tmp_path, 1, more), tmp_path / "logs", 9),
    ):
        pass
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "Traceback" not in capfd.readouterr().err
    assert batch.submissions == 0
