"""Jobs of a batch system; stand-ins for its commands."""

import os

import pytest

from decametre.errors import FleetError
from decametre.fleet.cluster_file import read_cluster_file
from decametre.fleet.engine import job_crew

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
        job_crew(file, tmp_path / "logs", 1),
    ):
        pass


def test_a_queue_that_refuses_says_why_in_one_line(file, tmp_path, monkeypatch, caplog):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition: nope' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        pytest.raises(FleetError, match="takes no job of the cluster file: sbatch"),
        job_crew(file, tmp_path / "logs", 1),
    ):
        pass
    assert "Traceback" not in caplog.text
