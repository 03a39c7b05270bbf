"""When jobs count as failed, and when they are replaced; with a simulated cluster and clock."""

import asyncio
from types import SimpleNamespace

import pytest

from decametre.fleet import job_resubmission
from decametre.fleet.job_resubmission import (
    MAX_FAILED_JOBS,
    RESUBMIT_INTERVAL,
    WORKER_GRACE_SECONDS,
    JobResubmitter,
)

REFUSAL = "sbatch: error: Batch job submission failed: Socket timed out"


class Job:
    """A job in the queue, or one that the batch system refused."""

    def __init__(self, logs, name, refusal=None):
        self.mark, self.refusal, self.log_directory = f".job-{name}", refusal, str(logs)
        self.script = logs / self.mark
        self.script.touch()

    def end(self):
        self.script.unlink()

    async def close(self):
        self.script.unlink(missing_ok=True)


@pytest.fixture
def cluster():
    """Its jobs by name, and the names of those whose worker is connected."""
    return SimpleNamespace(workers={}, observed=set())


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(job_resubmission, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def check(cluster, clock, tmp_path):
    """Run the resubmitter after so many seconds."""
    resubmit = JobResubmitter(cluster, tmp_path)

    def check(seconds=RESUBMIT_INTERVAL):
        clock.now += seconds
        asyncio.run(resubmit())
        return resubmit.fault

    return check


def add(cluster, logs, *names, refusal=None):
    cluster.workers.update({name: Job(logs, name, refusal) for name in names})


def test_waiting_job_is_kept(cluster, check, tmp_path, caplog):
    add(cluster, tmp_path, "a")
    for _ in range(100):
        assert check() is None
    assert list(cluster.workers) == ["a"]
    assert caplog.messages == []


def test_refused_jobs_are_replaced_one_at_a_time(cluster, check, tmp_path, caplog):
    add(cluster, tmp_path, "a")
    cluster.observed = {"a"}
    add(cluster, tmp_path, "b", "c", "d", refusal=REFUSAL)
    check()
    assert list(cluster.workers) == ["a", "c", "d"]
    add(cluster, tmp_path, "b2", refusal=REFUSAL)  # refused again
    check(RESUBMIT_INTERVAL / 2)
    assert list(cluster.workers) == ["a", "c", "d", "b2"]
    check(RESUBMIT_INTERVAL / 2)
    assert list(cluster.workers) == ["a", "d", "b2"]
    add(cluster, tmp_path, "c2")  # accepted, so the next follows at once
    check(0.1)
    assert list(cluster.workers) == ["a", "b2", "c2"]
    assert caplog.messages == [
        f"the batch system refused a job: {REFUSAL}; it is resubmitted every 30 seconds"
    ]


def test_job_that_ended_without_a_worker_is_replaced(cluster, check, tmp_path, caplog):
    add(cluster, tmp_path, "a", "b", "c")
    cluster.observed = {"a"}
    cluster.workers["b"].end()
    check()
    assert list(cluster.workers) == ["a", "b", "c"]  # its worker may still appear
    check(WORKER_GRACE_SECONDS)
    assert list(cluster.workers) == ["a", "b", "c"]
    assert check() is None
    assert list(cluster.workers) == ["a", "c"]
    assert caplog.messages == [
        f"a job ended before its worker connected; see its output in {tmp_path}; it is resubmitted "
        "every 30 seconds"
    ]


def test_job_that_ended_after_its_worker_connected_is_kept(cluster, check, tmp_path, caplog):
    add(cluster, tmp_path, "a")
    cluster.observed = {"a"}
    cluster.workers["a"].end()
    for _ in range(10):
        check()
    assert list(cluster.workers) == ["a"]
    assert caplog.messages == []


def test_fleet_ends_if_all_jobs_end_without_workers(cluster, check, tmp_path):
    fault = None
    for number in range(MAX_FAILED_JOBS):
        assert fault is None
        add(cluster, tmp_path, f"{number}")
        cluster.workers[f"{number}"].end()
        check()
        fault = check()
        assert cluster.workers == {}
    assert fault == (
        f"{MAX_FAILED_JOBS} jobs ended before their workers connected, and no worker is left; see "
        f"their output in {tmp_path}"
    )


def test_failed_jobs_before_a_worker_connected_do_not_count(cluster, check, tmp_path):
    for number in range(3 * MAX_FAILED_JOBS):
        cluster.observed = {"connected"} if number % 10 == 0 else set()
        add(cluster, tmp_path, f"{number}")
        cluster.workers[f"{number}"].end()
        check()
        assert check() is None
