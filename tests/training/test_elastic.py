"""Ranks that are killed, hang and join; the weights must be those of a single process."""

import json
import os
import signal
import sys
import time

import pytest
import torch

from decametre.training.checkpoint import read_checkpoint
from tests.support.processes import REPOSITORY, Process
from tests.training.elastic_process import EVERY, STEPS
from tests.training.team import free_port, variables

pytestmark = pytest.mark.slow

LIMIT = 300
"""Seconds after which a process counts as hanging; no result depends on it."""


def start(folder, size, events, **options):
    port = free_port()

    def start_rank(rank, events):
        job = json.dumps({"folder": str(folder), "events": events} | options)
        words = [sys.executable, "-m", "tests.training.elastic_process", job]
        return Process(words, env=variables(rank, size, port), cwd=REPOSITORY)

    return [start_rank(rank, events) for rank in range(size)], start_rank


def weights(folder):
    found = read_checkpoint(folder / "last.safetensors")
    assert found.step == STEPS
    return found.tensors


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elastic") / "alone"
    job = json.dumps({"folder": str(folder), "events": {}})
    environment = {key: value for key, value in os.environ.items() if key != "RANK"}
    words = [sys.executable, "-m", "tests.training.elastic_process", job]
    process = Process(words, env=environment, cwd=REPOSITORY)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    return weights(folder)


def assert_same_result(folder, alone):
    for name, tensor in weights(folder).items():
        torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-12)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(EVERY, STEPS + 1, EVERY))


def assert_ends(processes, expected):
    for process in processes:
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == expected.get(processes.index(process), 0), err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    "events",
    [
        {"1": [7, "loss", "SIGKILL"]},
        {"0": [7, "end", "SIGKILL"]},  # it has the store and writes the files
        {"0": [9, "save", "SIGKILL"], "2": [12, "loss", "SIGKILL"]},
        {"0": [STEPS - 1, "validate", "SIGKILL"], "1": [19, "end", "SIGKILL"]},
    ],
    ids=str,
)
def test_the_others_continue_without_killed_ranks(alone, tmp_path, events):
    processes, _ = start(tmp_path / "run", 3, events)
    assert_ends(processes, {int(rank): -signal.SIGKILL for rank in events})
    assert_same_result(tmp_path / "run", alone)
    assert not (tmp_path / "run" / ".ranks").exists()


def test_a_rank_that_hangs_is_left_behind_and_joins_again(alone, tmp_path):
    folder = tmp_path / "run"
    processes, _ = start(folder, 3, {"0": [7, "loss", "SIGSTOP"]}, all=True)
    wait_for_record(folder, processes[1:])
    processes[0].send_signal(signal.SIGCONT)
    assert_ends(processes, {})
    assert_same_result(folder, alone)
    assert last_ranks(folder) == 3


def test_a_killed_rank_joins_again_and_gets_the_state_from_the_others(alone, tmp_path):
    folder = tmp_path / "run"
    processes, start_rank = start(folder, 3, {"0": [7, "loss", "SIGKILL"]}, all=True)
    assert processes[0].wait(LIMIT) == -signal.SIGKILL
    processes[0] = start_rank(0, {})
    assert_ends(processes, {})
    assert_same_result(folder, alone)
    assert last_ranks(folder) == 3


def wait_for_record(folder, processes):
    """Wait until the others have validated twice, so without the rank that hangs."""
    path = folder / "log.jsonl"
    while not path.exists() or len(path.read_text().splitlines()) < 2:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def last_ranks(folder):
    *_, last = (folder / "log.jsonl").read_text().splitlines()
    return len(json.loads(last)["ranks"]["samples"])
