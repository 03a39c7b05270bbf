"""Whole jobs of several processes, as a launcher starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decametre.training.checkpoint import read_newest_checkpoint
from decametre.training.stopping import HANG_TIMEOUT
from tests.training.team import LIMIT, finish, start, start_each

SETTINGS = {
    "network.config": "{width: 16, blocks: 1}",
    "data.patch": 8,
    "optimization.steps": 150,
    "optimization.batch": 8,
    "optimization.schedule": "{rule: cosine, rate: 1.0e-3, warmup: 5}",
    "optimization.average": 0.9,
    "validate_every": 15,
}


def command(sample_item, folder, **changes):
    words = [sys.executable, "-m", "decametre", "train", "native_2x", "--out", folder]
    words += ["--train", sample_item, "--validation", sample_item, "--precision", "float32"]
    for key, value in (SETTINGS | changes).items():
        words += ["--set", f"{key}={value}"]
    return words


def assert_same_course(folder, other):
    """But for float32, whose sums are in another order: test_gradient.py looks closer."""
    for found, expected in zip(records(folder), records(other), strict=True):
        ratio = expected["rmse_ratio_to_bicubic"]
        assert found["rmse_ratio_to_bicubic"] == pytest.approx(ratio, abs=1e-3)


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def wait_for(path, processes):
    for _ in range(600):
        if path.exists():
            return
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)
    raise AssertionError(f"{path} has not come")


@pytest.fixture(scope="module")
def alone(sample_item, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs") / "alone"
    ((status, _, err),) = finish(start(command(sample_item, folder), 1))
    assert status == 0, err
    return folder


@pytest.mark.parametrize("balance", ["equal", "[3, 1]", "auto"])
def test_two_ranks_end_with_the_weights_of_one(alone, sample_item, tmp_path, balance):
    folder = tmp_path / "two"
    changes = {"distribution.balance": balance, "optimization.micro_batch": 2}
    (first, _, said), (second, _, heard) = finish(start(command(sample_item, folder, **changes), 2))
    assert (first, second) == (0, 0), said + heard
    assert heard == ""  # rank 0 alone talks
    assert_same_course(folder, alone)
    losses = [[record["loss"] for record in records(run)] for run in (folder, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    if balance == "[3, 1]":
        samples = records(folder)[0]["ranks"]["samples"]
        assert samples[0] == 3 * samples[1]


def test_a_killed_rank_ends_the_others_and_one_process_goes_on(alone, sample_item, tmp_path):
    folder = tmp_path / "killed"
    slow = command(sample_item, folder)
    ranks = start(slow, 2)
    wait_for(folder / "last.safetensors", ranks)
    ranks[1].kill()
    begun = time.monotonic()
    (status, _, said), _ = finish(ranks)
    assert time.monotonic() - begun < 20
    assert status == 2, said
    assert "rank 0 of 2 on " in said
    assert "another rank ended" in said
    assert "Traceback" not in said
    assert len(records(folder)) < len(records(alone))
    ((status, _, said),) = finish(start(slow, 1))
    assert status == 0, said
    assert_same_course(folder, alone)


def test_a_rank_that_is_asked_to_stop_stops_all_and_they_go_on(alone, sample_item, tmp_path):
    folder = tmp_path / "stopped"
    ranks = start(command(sample_item, folder), 2)
    wait_for(folder / "last.safetensors", ranks)
    ranks[1].send_signal(signal.SIGTERM)
    ended = finish(ranks)
    assert [status for status, _, _ in ended] == [130, 130], ended
    assert len(records(folder)) < len(records(alone))
    assert all(status == 0 for status, _, _ in finish(start(command(sample_item, folder), 2)))
    assert_same_course(folder, alone)


def test_asked_to_stop_it_does_not_wait_for_a_rank_that_hangs(sample_item, tmp_path):
    folder = tmp_path / "hanging"
    ranks = start(command(sample_item, folder, **{"optimization.steps": 10**6}), 2)
    wait_for(folder / "last.safetensors", ranks)
    ranks[1].send_signal(signal.SIGSTOP)
    time.sleep(2)  # rank 0 comes to where it waits
    assert ranks[0].poll() is None
    ranks[0].terminate()
    begun = time.monotonic()
    (first,) = finish(ranks[:1])
    taken = time.monotonic() - begun
    ranks[1].kill()
    finish(ranks[1:])
    assert first[0] == 130, first
    assert HANG_TIMEOUT - 5 < taken < HANG_TIMEOUT + 10
    *_, line = first[2].splitlines()
    assert "rank 0 of 2 on " in line
    assert "the other ranks have not responded" in line
    assert read_newest_checkpoint(folder).step >= 15


def test_a_run_stopped_right_before_a_validation_goes_on(alone, sample_item, tmp_path):
    folder = tmp_path / "stopped"
    often = command(sample_item, folder, **{"optimization.steps": 6, "validate_every": 1})
    assert [status for status, _, _ in finish(start(often, 2))] == [0, 0]


def test_a_checkpoint_of_another_folder_is_gone_on_from(alone, sample_item, tmp_path):
    folder = tmp_path / "elsewhere"
    words = [*command(sample_item, folder), "--resume", alone / "last-1.safetensors"]
    ((status, _, err),) = finish(start(words, 1))
    assert status == 0, err
    assert [record["step"] for record in records(folder)] == [150]
    assert (folder / "weights.safetensors").is_file()
    ((status, _, err),) = finish(start(words, 1))
    assert status == 2
    assert "would write over" in err


def test_a_mistake_of_one_rank_is_one_line_of_it_and_ends_the_other(sample_item, tmp_path):
    folder = tmp_path / "run"
    (first, _, said), (second, _, heard) = finish(
        start_each([command(sample_item, folder), command("no/such/product", folder)])
    )
    assert (first, second) == (2, 2)
    (line,) = heard.splitlines()
    assert "rank 1 of 2 on " in line
    assert "no/such/product" in line
    assert "rank 0 of 2 on " in said
    assert "another rank ended" in said
    assert "Traceback" not in said
    assert not folder.exists()


def test_torchrun_starts_again_from_the_checkpoint_where_a_rank_is_killed(
    alone, sample_item, tmp_path
):
    folder = tmp_path / "restarted"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "--max-restarts", "1"]
    with subprocess.Popen(
        [*map(str, torchrun + command(sample_item, folder)[1:])],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        wait_for(folder / "last.safetensors", [agent])
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        _, said = agent.communicate(timeout=LIMIT)
    assert agent.returncode == 0, said
    assert "resuming at step" in said
    assert_same_course(folder, alone)
