"""Complete jobs of several processes, as a launcher starts them."""

import json
import os
import subprocess
import sys

import pytest

from decametre.training.checkpoint import read_newest_checkpoint
from tests.training.team import finish, start, start_each

STEPS, VALIDATE_EVERY, EVENT_STEP = 24, 6, 16
"""Something happens after step 16, when the checkpoints of steps 6 and 12 exist."""

SETTINGS = {
    "network.architecture": "native",
    "network.config": "{width: 16, blocks: 1}",
    "data.patch": 8,
    "optimization.steps": STEPS,
    "optimization.batch": 8,
    "optimization.schedule": "{rule: cosine, rate: 1.0e-3, warmup: 5}",
    "optimization.average": 0.9,
    "validate_every": VALIDATE_EVERY,
}


def command(sample_item, folder, events=None, **changes):
    """The command of a run; for `events`, see `training_process`."""
    words = [sys.executable, "-m", "decametre"]
    if events is not None:
        words = [sys.executable, "-m", "tests.recipes.training_process", json.dumps(events)]
    words += ["train", "native_2x", "--out", folder]
    words += ["--train", sample_item, "--validation", sample_item, "--precision", "float32"]
    for key, value in (SETTINGS | changes).items():
        words += ["--set", f"{key}={value}"]
    return words


def assert_same_course(folder, other):
    """Up to float32, as the order of sums differs: test_gradient.py compares exactly."""
    for found, expected in zip(records(folder), records(other), strict=True):
        ratio = expected["rmse_ratio_to_bicubic"]
        assert found["rmse_ratio_to_bicubic"] == pytest.approx(ratio, abs=1e-3)


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(sample_item, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs") / "alone"
    ((status, _, err),) = finish(start(command(sample_item, folder), 1))
    assert status == 0, err
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["[3, 1]", "equal", "auto"])
def test_two_ranks_end_with_the_weights_of_one(alone, sample_item, tmp_path, balance):
    folder = tmp_path / "two"
    changes = {"distribution.balance": balance, "optimization.micro_batch": 2}
    (first, _, err), (second, _, other) = finish(start(command(sample_item, folder, **changes), 2))
    assert (first, second) == (0, 0), err + other
    assert other == ""  # only rank 0 logs
    assert_same_course(folder, alone)
    losses = [[record["loss"] for record in records(run)] for run in (folder, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    if balance == "[3, 1]":
        samples = records(folder)[0]["ranks"]["samples"]
        assert samples[0] == 3 * samples[1]


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_one_process_resumes(alone, sample_item, tmp_path):
    folder = tmp_path / "killed"
    events = {"1": [EVENT_STEP, "SIGKILL"]}
    (status, _, err), _ = finish(start(command(sample_item, folder, events), 2))
    assert status == 2, err
    assert "rank 0 of 2 on " in err
    assert "another rank ended" in err
    assert "timed out" not in err.lower()  # the closed connection is noticed at once
    assert "Traceback" not in err
    assert [record["step"] for record in records(folder)] == [6, 12]
    ((status, _, err),) = finish(start(command(sample_item, folder), 1))
    assert status == 0, err
    assert_same_course(folder, alone)


@pytest.mark.slow
def test_a_rank_that_is_asked_to_stop_stops_all_and_they_resume(alone, sample_item, tmp_path):
    folder = tmp_path / "stopped"
    events = {"1": [EVENT_STEP, "SIGTERM"]}
    ended = finish(start(command(sample_item, folder, events), 2))
    assert [status for status, _, _ in ended] == [130, 130], ended
    # The other rank is informed in the next step.
    assert read_newest_checkpoint(folder).step == EVENT_STEP + 1
    assert all(status == 0 for status, _, _ in finish(start(command(sample_item, folder), 2)))
    assert_same_course(folder, alone)


@pytest.mark.slow
def test_a_rank_that_is_asked_to_stop_does_not_wait_for_one_that_hangs(sample_item, tmp_path):
    folder = tmp_path / "hanging"
    events = {"0": [EVENT_STEP, "SIGTERM"], "1": [EVENT_STEP, "SIGSTOP"]}
    ranks = start(command(sample_item, folder, events), 2)
    ((status, _, err),) = finish(ranks[:1])
    ranks[1].kill()
    finish(ranks[1:])
    assert status == 130, err
    *_, line = err.splitlines()
    assert "rank 0 of 2 on " in line
    assert "the other ranks have not responded" in line
    assert read_newest_checkpoint(folder).step == 12


@pytest.mark.slow
def test_ranks_validate_and_save_in_each_step(sample_item, tmp_path):
    folder = tmp_path / "often"
    often = command(sample_item, folder, **{"optimization.steps": 6, "validate_every": 1})
    assert [status for status, _, _ in finish(start(often, 2))] == [0, 0]
    assert [record["step"] for record in records(folder)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_run_resumes_from_a_checkpoint_of_another_folder(alone, sample_item, tmp_path):
    folder = tmp_path / "elsewhere"
    words = [*command(sample_item, folder), "--resume", alone / "last-1.safetensors"]
    ((status, _, err),) = finish(start(words, 1))
    assert status == 0, err
    assert [record["step"] for record in records(folder)] == [STEPS]
    assert (folder / "weights.safetensors").is_file()
    ((status, _, err),) = finish(start(words, 1))
    assert status == 2
    assert "would overwrite" in err


def test_an_error_of_one_rank_is_one_line_and_ends_the_other(sample_item, tmp_path):
    folder = tmp_path / "run"
    (first, _, other), (second, _, err) = finish(
        start_each([command(sample_item, folder), command("no/such/product", folder)])
    )
    assert (first, second) == (2, 2)
    (line,) = err.splitlines()
    assert "rank 1 of 2 on " in line
    assert "no/such/product" in line
    assert "rank 0 of 2 on " in other
    assert "another rank ended" in other
    assert "Traceback" not in other
    assert not folder.exists()


@pytest.mark.slow
def test_torchrun_restarts_from_the_checkpoint_after_a_rank_was_killed(
    alone, sample_item, tmp_path
):
    folder = tmp_path / "restarted"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "--max-restarts", "1"]
    events = {"1": [EVENT_STEP, "SIGKILL"]}
    done = subprocess.run(
        [*map(str, torchrun + command(sample_item, folder, events)[1:])],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "resuming at step 12" in done.stderr
    assert_same_course(folder, alone)
