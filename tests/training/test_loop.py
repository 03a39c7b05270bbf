import errno
import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from decametre.errors import TrainingError
from decametre.training.checkpoint import (
    CHECKPOINT_NAME,
    Origin,
    first_difference,
    load_state,
    origin_of,
)
from decametre.training.gradient import backward
from decametre.training.loop import fit, start, step_once
from decametre.training.recipe import read_recipe
from decametre.training.task import Validation


def recipe(**changes):
    return read_recipe(
        "native_2x",
        {
            "optimization.steps": 12,
            "optimization.batch": 2,
            "optimization.schedule": {"rule": "plateau", "rate": 0.05, "patience": 0},
            "optimization.weight_decay": 0.0,
            "validate_every": 4,
        }
        | changes,
    )


class Line:
    """Fits a line to points: small enough to follow by hand."""

    def __init__(self, stop_at=None, scores=None, **beside):
        self.beside = beside
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self.stop_at, self.scores, self.saved = stop_at, scores, []

    def batches(self, first, end):
        for step in range(first, end):
            if step == self.stop_at:
                raise KeyboardInterrupt
            yield torch.randn(2, 1, generator=torch.Generator().manual_seed(step))

    def loss(self, network, batch):
        return (network(batch) - 3 * batch - 1).abs().sum(), torch.tensor(len(batch))

    def validate(self, network):
        off = float((network.weight.detach() - 3).abs().sum())
        score = off if self.scores is None else self.scores.pop(0)
        return Validation(score, {"score": score}, None)

    def save(self, folder, network, validation, step):
        self.saved.append(step)
        (folder / "weights.txt").write_text(repr(network.weight.tolist()))


def silent(done, total, samples):
    pass


OPTIMIZERS = [
    {},
    {"optimization.optimizer": "sgd"},
    {
        "optimization.optimizer": "sgd",
        "optimization.momentum": 0.9,
        "optimization.nesterov": True,
    },
    {"optimization.optimizer": "lars", "optimization.momentum": 0.9},
    {"optimization.optimizer": "lamb"},
]


@pytest.mark.parametrize("changes", OPTIMIZERS)
def test_a_killed_run_ends_with_the_weights_of_one_left_alone(tmp_path, changes):
    whole, first, second = Line(), Line(stop_at=10), Line()
    alone, resumed = tmp_path / "alone", tmp_path / "resumed"
    alone.mkdir(), resumed.mkdir()
    fit(whole, recipe(**changes), alone, silent)
    with pytest.raises(KeyboardInterrupt):
        fit(first, recipe(**changes), resumed, silent)
    fit(second, recipe(**changes), resumed, silent)
    assert torch.equal(whole.network.weight, second.network.weight)
    assert torch.equal(whole.network.bias, second.network.bias)
    for name in (CHECKPOINT_NAME, "weights.txt"):
        assert (alone / name).read_bytes() == (resumed / name).read_bytes()
    scores = [
        [json.loads(line)["score"] for line in (folder / "log.jsonl").read_text().splitlines()]
        for folder in (alone, resumed)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 3


def test_a_finished_run_is_left_as_it_is(tmp_path):
    fit(Line(), recipe(), tmp_path, silent)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = Line()
    fit(again, recipe(), tmp_path, silent)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not again.saved


def test_lines_of_the_log_after_the_checkpoint_are_taken_back(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_at=6), recipe(), tmp_path, silent)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "score": 0}\n{"step": 12, "sc')
    fit(Line(), recipe(), tmp_path, silent)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8, 12]


def test_another_recipe_in_the_folder_is_refused(tmp_path):
    fit(Line(), recipe(), tmp_path, silent)
    with pytest.raises(TrainingError, match=r"optimization\.batch was 2 and is now 4"):
        fit(Line(), recipe(**{"optimization.batch": 4}), tmp_path, silent)


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"not a checkpoint")
    task = Line()
    with pytest.raises(TrainingError, match="not a checkpoint"):
        load_state(start(task.network, recipe().optimization), tmp_path, Origin({}, {}))
    with pytest.raises(TrainingError, match="not a checkpoint"):
        origin_of(tmp_path)


@pytest.mark.parametrize("changes", [{"recipe": None}, {"scores": None}, {"recipe": 1}])
def test_a_checkpoint_of_something_else_is_one_line(tmp_path, changes):
    about = {"step": 4, "scores": [], "recipe": {}} | changes
    about = {key: value for key, value in about.items() if value is not None}
    save_file({}, tmp_path / CHECKPOINT_NAME, metadata={"state": json.dumps(about)})
    task = Line()
    with pytest.raises(TrainingError, match="not a checkpoint"):
        load_state(start(task.network, recipe().optimization), tmp_path, Origin({}, {}))


def test_a_run_of_before_a_key_was_there_goes_on_with_its_default():
    now = recipe().model_dump(mode="json")
    before = json.loads(json.dumps(now))
    for key in ("optimizer", "momentum", "nesterov"):
        del before["optimization"][key]
    assert Origin(before, {}).difference(Origin(now, {})) == ""
    other = recipe(**{"optimization.optimizer": "lamb"}).model_dump(mode="json")
    assert Origin(before, {}).difference(Origin(other, {})) == (
        "optimization.optimizer was 'adamw' and is now 'lamb'"
    )


def test_what_the_recipe_does_not_say_must_be_the_same(tmp_path):
    fit(Line(precision="float32", train=["a"]), recipe(), tmp_path, silent)
    with pytest.raises(TrainingError, match="precision was 'float32' and is now 'bfloat16'"):
        fit(Line(precision="bfloat16", train=["a"]), recipe(), tmp_path, silent)
    with pytest.raises(TrainingError, match=r"train was \['a'\] and is now \['a', 'b'\]"):
        fit(Line(precision="float32", train=["a", "b"]), recipe(), tmp_path, silent)


def test_workers_and_the_paths_of_the_same_products_may_change(tmp_path):
    fit(Line(train=["a"]), recipe(**{"data.train": ["x/a"]}), tmp_path, silent)
    changed = recipe(**{"data.train": ["/elsewhere/a"], "data.workers": 2})
    fit(Line(train=["a"]), changed, tmp_path, silent)


def test_a_checkpoint_that_does_not_say_what_was_beside_is_gone_on_with(tmp_path):
    fit(Line(), recipe(**{"data.train": ["x/a"]}), tmp_path, silent)
    fit(Line(train=["a"]), recipe(**{"data.train": ["x/a"]}), tmp_path, silent)
    with pytest.raises(TrainingError, match=r"data\.train was"):
        fit(Line(train=["b"]), recipe(**{"data.train": ["x/b"]}), tmp_path, silent)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_training_that_diverges_is_one_line_and_nothing_is_lost(tmp_path, score):
    task = Line(scores=[0.5, score])
    with pytest.raises(TrainingError, match=r"step 8: .* diverged"):
        fit(task, recipe(), tmp_path, silent)
    assert task.saved == [4]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    state = start(Line().network, recipe().optimization)
    load_state(state, tmp_path, Origin(recipe().model_dump(mode="json"), {}))
    assert (state.step, state.scores) == (4, [0.5])


def test_a_full_disk_is_one_line_and_the_earlier_state_stays(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_at=6), recipe(), tmp_path, silent)
    before = (tmp_path / CHECKPOINT_NAME).read_bytes()

    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        fit(Line(), recipe(), tmp_path, silent)
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == before
    assert not list(tmp_path.glob(".*.partial"))


def test_a_damaged_log_does_not_stop_a_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_at=6), recipe(), tmp_path, silent)
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\x00\n")
    fit(Line(), recipe(), tmp_path, silent)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8, 12]


def test_the_best_weights_are_kept(tmp_path):
    task = Line(scores=[0.5, 0.7, 0.4])
    fit(task, recipe(), tmp_path, silent)
    assert task.saved == [4, 12]


def test_the_gradient_is_of_the_mean_over_what_counts():
    weight = nn.Parameter(torch.tensor(2.0))
    backward((weight * torch.tensor([1.0, 2.0, 6.0])).sum(), torch.tensor(3))
    assert weight.grad == 3
    nothing = nn.Parameter(torch.tensor(2.0))
    backward((nothing * torch.zeros(3)).sum(), torch.tensor(0))
    assert nothing.grad == 0


def test_a_step_follows_adam_by_hand():
    """The first step of Adam is one rate in the direction of the gradient's sign."""
    changed = recipe(**{"optimization.schedule": {"rule": "plateau", "rate": 0.25}})
    task = Line()
    before = task.network.weight.item()
    state = start(task.network, changed.optimization)
    step_once(task, state, changed.optimization, torch.tensor([[1.0], [2.0]]))
    assert task.network.weight.item() == pytest.approx(before + 0.25, abs=1e-6)
    assert state.step == 1


def test_the_average_follows_the_weights():
    changed = recipe(**{"optimization.average": 0.0})
    task = Line()
    state = start(task.network, changed.optimization)
    for batch in task.batches(0, 3):
        step_once(task, state, changed.optimization, batch)
    assert torch.equal(state.average.module.weight, task.network.weight)
    slow = start(task.network, recipe(**{"optimization.average": 0.9}).optimization)
    was = task.network.weight.clone()
    step_once(task, slow, changed.optimization, torch.ones(2, 1))
    first = slow.average.module.weight.clone()
    assert torch.equal(first, task.network.weight)  # the first one is taken as it is
    step_once(task, slow, changed.optimization, torch.ones(2, 1))
    middle = slow.average.module.weight
    assert bool((middle - first).abs() < (task.network.weight - was).abs())


def test_clipping_bounds_the_step_of_the_moments():
    changed = recipe(**{"optimization.clip": 1e-3})
    task = Line()
    state = start(task.network, changed.optimization)
    step_once(task, state, changed.optimization, torch.tensor([[1.0], [2.0]]))
    norm = torch.stack([p.grad.norm() for p in task.network.parameters()]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_the_first_difference_has_its_place():
    a = {"data": {"patch": 3, "gain": 0.1}, "seed": 0}
    assert first_difference(a, a) == ""
    assert first_difference(a, {**a, "seed": 1}) == "seed was 0 and is now 1"
    b = {"data": {"patch": 4, "gain": 0.1}, "seed": 0}
    assert first_difference(a, b).startswith("data.patch")
