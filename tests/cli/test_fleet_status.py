"""`decametre fleet status` for synthetic journals."""

import json

import pytest
from click.testing import CliRunner

from decametre.cli.fleet.status import status
from decametre.files import locked
from decametre.fleet.events import lock_path
from tests.fleet.journals import JournalWriter


@pytest.fixture
def journal(tmp_path):
    return JournalWriter(tmp_path)


def show(journal, *options):
    return CliRunner().invoke(status, [str(journal.out), *options], catch_exceptions=False).stdout


def test_killed_run_with_failures(journal):
    journal.run(9)
    journal.worker("0")
    journal.done("A")
    for name in "BCDEF":
        journal.failed(name, stage="open")
    journal.failed("G", stage="compute", final=False)
    journal.failed("G", stage="encode", reason="no space left")
    lines = show(journal).splitlines()
    assert lines[0].startswith("state        killed; the same command resumes it (since 2025-")
    assert "products     1 of 9 completed, 6 failed, 0 running, 2 left" in lines
    assert "failed       5 in stage 'open'" in lines
    assert "               D: D is broken" in lines
    assert "               and 2 more" in lines
    assert "               G: no space left" in lines
    assert "retries      1 failed attempts were or will be retried" in lines
    assert not any("dashboard" in line for line in lines)


def test_running_fleet(journal):
    journal.run(9)
    journal.worker("0", threads=2, gpus=1)
    journal.worker("1", threads=2, gpus=1, host="node2")
    journal.done("A")
    with locked(lock_path(journal.out), journal.out):
        shown = show(journal)
        found = json.loads(show(journal, "--json"))
    assert "workers      2 with 4 threads and 2 GPUs in total, on node1, node2" in shown
    assert "dashboard    http://127.0.0.1:8787/status" in shown
    assert found["state"] == "running"
    assert found["products"] == {
        "all": 9,
        "done": 1,
        "done_before": 0,
        "failed": 0,
        "running": None,
        "left": 8,
    }
    assert found["workers"]["1"] == {
        "name": "worker 1",
        "host": "node2",
        "threads": 2,
        "gpus": 1,
        "memory": 4_000_000_000,
    }
    assert found["seconds_left"] > 0
