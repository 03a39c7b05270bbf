import errno
import json
import math
import os
import signal

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from decametre.errors import TrainingError
from decametre.recipes.reading import read_recipe
from decametre.training.checkpoint import (
    CHECKPOINT_NAME,
    RunInputs,
    checkpoint_names,
    first_difference,
    read_checkpoint,
    read_newest_checkpoint,
)
from decametre.training.gradient import Gradient
from decametre.training.loop import (
    MAX_SKIPPED_STEPS,
    check_ranks_agree,
    fit,
    initial_state,
    train_step,
)
from decametre.training.order import EndlessOrder
from decametre.training.ranks import SINGLE_PROCESS
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

    def __init__(self, stop_at=None, scores=None, spoilt=(), **beside):
        self.extra_inputs = beside
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self.stop_at, self.scores, self.spoilt, self.saved = stop_at, scores, spoilt, []

    def batches(self, first, end, parts):
        for step in range(first, end):
            if step == self.stop_at:
                raise KeyboardInterrupt
            drawn = [[self.point(sample) for sample in part] for part in parts(step)]
            yield [torch.stack(points)[:, None] for points in drawn]

    def point(self, sample):
        if sample in self.spoilt:
            return torch.tensor(math.nan)
        return torch.randn((), generator=torch.Generator().manual_seed(sample))

    def count(self, batch):
        return len(batch)

    def loss(self, network, batch):
        return (network(batch) - 3 * batch - 1).abs().sum()

    def validate(self, network, ranks):
        off = float((network.weight.detach() - 3).abs().sum())
        score = off if self.scores is None else self.scores.pop(0)
        return Validation(score, {"score": score}, None)

    def save(self, folder, network, validation, step):
        self.saved.append(step)
        (folder / "weights.txt").write_text(repr(network.weight.tolist()))


def silent(done, total, samples):
    pass


def run(task, recipe, folder):
    """As a job does: from the newest checkpoint on."""
    follow(task, recipe)
    fit(task, recipe, folder, silent, checkpoint=read_newest_checkpoint(folder))


def follow(task, recipe):
    task.order = EndlessOrder(recipe.optimization.batch)
    task.steps, task.validate_every = recipe.optimization.steps, recipe.validate_every


def steps(task, state, recipe, *batches):
    gradient = Gradient(task, state.network, SINGLE_PROCESS)
    for batch in batches:
        train_step(
            state,
            12,
            recipe.optimization,
            gradient,
            [batch],
            SINGLE_PROCESS.start_sum([len(batch)]).first,
        )


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
    run(whole, recipe(**changes), alone)
    with pytest.raises(KeyboardInterrupt):
        run(first, recipe(**changes), resumed)
    run(second, recipe(**changes), resumed)
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


def test_a_completed_run_is_not_changed(tmp_path):
    run(Line(), recipe(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = Line()
    run(again, recipe(), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not again.saved


def test_lines_of_the_log_after_the_checkpoint_are_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Line(stop_at=6), recipe(), tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "score": 0}\n{"step": 12, "sc')
    run(Line(), recipe(), tmp_path)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8, 12]


def test_another_recipe_in_the_folder_is_refused(tmp_path):
    run(Line(), recipe(), tmp_path)
    with pytest.raises(TrainingError, match=r"optimization\.batch was 2 and is now 4"):
        run(Line(), recipe(**{"optimization.batch": 4}), tmp_path)


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        read_newest_checkpoint(tmp_path)


@pytest.mark.parametrize("changes", [{"recipe": None}, {"scores": None}, {"recipe": 1}])
def test_an_invalid_checkpoint_is_one_line(tmp_path, changes):
    about = {"step": 4, "scores": [], "recipe": {}} | changes
    about = {key: value for key, value in about.items() if value is not None}
    save_file({}, tmp_path / CHECKPOINT_NAME, metadata={"state": json.dumps(about)})
    with pytest.raises(TrainingError, match="not a checkpoint"):
        read_newest_checkpoint(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_the_checkpoint_before_a_damaged_one_is_used(tmp_path, damage, caplog):
    run(Line(), recipe(), tmp_path)
    last = tmp_path / CHECKPOINT_NAME
    whole = last.read_bytes()
    torn = whole[:-1] if damage == "torn" else whole[:-1] + bytes([whole[-1] ^ 1])
    last.write_bytes(torn)
    assert read_newest_checkpoint(tmp_path).step == 8
    assert str(last) in caplog.text
    # Out of the way of the checkpoints to come, of which one more would replace the good one.
    assert (tmp_path / f"{CHECKPOINT_NAME}.damaged").read_bytes() == torn
    run(Line(), recipe(), tmp_path)
    assert last.read_bytes() == whole
    assert read_checkpoint(tmp_path / checkpoint_names(2)[1]).step == 8


def test_a_checkpoint_whose_step_was_changed_is_damaged(tmp_path):
    run(Line(), recipe(), tmp_path)
    last = tmp_path / CHECKPOINT_NAME
    changed = last.read_bytes().replace(rb"\"step\": 12", rb"\"step\": 42")
    assert changed != last.read_bytes()
    last.write_bytes(changed)
    with pytest.raises(TrainingError, match="checksum"):
        read_checkpoint(last)


def test_fewer_checkpoints_may_be_kept_later(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Line(stop_at=11), recipe(checkpoints=4, validate_every=2), tmp_path)
    run(Line(), recipe(checkpoints=2, validate_every=2), tmp_path)
    assert {path.name for path in tmp_path.glob("last*")} == set(checkpoint_names(2))


def test_ranks_with_other_recipes_or_products_are_refused():
    origins = [RunInputs(recipe().model_dump(mode="json"), {"train": [name]}) for name in "aab"]
    check_ranks_agree(origins[:2])
    with pytest.raises(TrainingError, match=r"rank 2 .* train was \['a'\] and is now \['b'\]"):
        check_ranks_agree(origins)


def test_the_recipe_sets_the_number_of_checkpoints(tmp_path):
    run(Line(), recipe(checkpoints=3, validate_every=2), tmp_path)
    kept = [read_checkpoint(tmp_path / name).step for name in checkpoint_names(3)]
    assert kept == [12, 10, 8]
    assert len(list(tmp_path.glob("last*"))) == 3


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(tmp_path, caplog):
    run(Line(spoilt={5}), recipe(), tmp_path)
    assert "step 3, samples 4 to 5" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line.get("skipped_steps") for line in lines] == [1, None, None]
    assert all(math.isfinite(line["loss"]) for line in lines)


@pytest.mark.parametrize("validate_every", [20, 4])
def test_too_many_steps_in_a_row_without_a_gradient_end_the_run(tmp_path, validate_every):
    changes = {"optimization.steps": 40, "validate_every": validate_every}
    with pytest.raises(
        TrainingError, match=rf"step {MAX_SKIPPED_STEPS + 2}, .* {MAX_SKIPPED_STEPS} times"
    ):
        run(Line(spoilt=range(4, 80)), recipe(**changes), tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_stopped_run_saves_its_step_and_resumes_there(tmp_path, number):
    whole, stopped, resumed = Line(), Line(), Line()
    alone, folder = tmp_path / "alone", tmp_path / "stopped"
    alone.mkdir(), folder.mkdir()
    run(whole, recipe(), alone)

    def ask(done, total, samples):
        if done == 6:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    follow(stopped, recipe())
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, recipe(), folder, ask)
    assert signal.getsignal(number) == before
    assert read_newest_checkpoint(folder).step == 7  # the others hear of it in that one
    run(resumed, recipe(), folder)
    assert torch.equal(whole.network.weight, resumed.network.weight)
    assert (alone / CHECKPOINT_NAME).read_bytes() == (folder / CHECKPOINT_NAME).read_bytes()


def test_a_run_with_other_extra_inputs_is_refused(tmp_path):
    run(Line(precision="float32", train=["a"]), recipe(), tmp_path)
    with pytest.raises(TrainingError, match="precision was 'float32' and is now 'bfloat16'"):
        run(Line(precision="bfloat16", train=["a"]), recipe(), tmp_path)
    with pytest.raises(TrainingError, match=r"train was \['a'\] and is now \['a', 'b'\]"):
        run(Line(precision="float32", train=["a", "b"]), recipe(), tmp_path)


def test_workers_and_the_paths_of_the_same_products_may_change(tmp_path):
    run(Line(train=["a"]), recipe(**{"data.train": ["x/a"]}), tmp_path)
    changed = recipe(**{"data.train": ["/elsewhere/a"], "data.workers": 2})
    run(Line(train=["a"]), changed, tmp_path)


def test_a_checkpoint_without_extra_inputs_can_be_resumed(tmp_path):
    run(Line(), recipe(**{"data.train": ["x/a"]}), tmp_path)
    run(Line(train=["a"]), recipe(**{"data.train": ["x/a"]}), tmp_path)
    with pytest.raises(TrainingError, match=r"data\.train was"):
        run(Line(train=["b"]), recipe(**{"data.train": ["x/b"]}), tmp_path)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_divergence_is_one_line_and_keeps_earlier_files(tmp_path, score):
    task = Line(scores=[0.5, score])
    with pytest.raises(TrainingError, match=r"step 8: .* diverged"):
        run(task, recipe(), tmp_path)
    assert task.saved == [4]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    saved = read_newest_checkpoint(tmp_path)
    assert (saved.step, saved.scores) == (4, [0.5])


def test_a_full_disk_is_one_line_and_keeps_the_earlier_state(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(Line(stop_at=6), recipe(), tmp_path)
    before = (tmp_path / CHECKPOINT_NAME).read_bytes()

    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        run(Line(), recipe(), tmp_path)
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == before
    assert not list(tmp_path.glob(".*.partial"))


def test_a_damaged_log_does_not_stop_a_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Line(stop_at=6), recipe(), tmp_path)
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\x00\n")
    run(Line(), recipe(), tmp_path)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 8, 12]


def test_the_best_weights_are_kept(tmp_path):
    task = Line(scores=[0.5, 0.7, 0.4])
    run(task, recipe(), tmp_path)
    assert task.saved == [4, 12]


@pytest.mark.parametrize("micro_batch", [None, 1, 2])
def test_the_gradient_is_that_of_the_mean_loss(micro_batch):
    class Product:
        def loss(self, network, batch):
            return network(batch).sum()

    network = nn.Linear(1, 1, bias=False)
    values = torch.tensor([[1.0], [2.0], [6.0]])
    Gradient(Product(), network, SINGLE_PROCESS)(values.split(micro_batch or 3), lambda: 3)
    assert network.weight.grad == 3
    network.zero_grad()
    Gradient(Product(), network, SINGLE_PROCESS)([], lambda: 0)
    assert network.weight.grad == 0


def test_a_step_follows_adam_by_hand():
    """The first step of Adam is one rate in the direction of the gradient's sign."""
    changed = recipe(**{"optimization.schedule": {"rule": "plateau", "rate": 0.25}})
    task = Line()
    before = task.network.weight.item()
    state = initial_state(task.network, changed.optimization)
    steps(task, state, changed, torch.tensor([[1.0], [2.0]]))
    assert task.network.weight.item() == pytest.approx(before + 0.25, abs=1e-6)
    assert state.step == 1


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_of_the_weights_has_a_warm_up(decay):
    task, chosen = Line(), recipe(**{"optimization.average": decay})
    state = initial_state(task.network, chosen.optimization)
    expected = None
    for done in range(12):
        steps(task, state, chosen, torch.ones(2, 1))
        weight = task.network.weight.detach().clone()
        share = 1 - min(decay, (done + 1) / (done + 10))
        expected = weight if expected is None else expected.lerp(weight, share)
        assert torch.equal(state.average.module.weight, expected)  # to the last bit


def test_gradients_are_clipped():
    changed = recipe(**{"optimization.clip": 1e-3})
    task = Line()
    state = initial_state(task.network, changed.optimization)
    steps(task, state, changed, torch.tensor([[1.0], [2.0]]))
    norm = torch.stack([p.grad.norm() for p in task.network.parameters()]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_the_first_difference_has_its_key():
    a = {"data": {"patch": 3, "gain": 0.1}, "seed": 0}
    assert first_difference(a, a) == ""
    assert first_difference(a, {**a, "seed": 1}) == "seed was 0 and is now 1"
    b = {"data": {"patch": 4, "gain": 0.1}, "seed": 0}
    assert first_difference(a, b).startswith("data.patch")


@pytest.mark.parametrize(("scores", "worse"), [([1, 2, 3, 1.5], True), ([1, 2, 0.5, 3], False)])
def test_a_fine_tuning_that_does_not_improve_its_weights_is_reported(
    tmp_path, caplog, scores, worse
):
    caplog.set_level("INFO")
    run(Line(scores=list(scores), init="native_2x"), recipe(), tmp_path)
    assert "step 0: score 1, of the weights that the training starts with" in caplog.text
    assert ("did not improve the weights it started with" in caplog.text) == worse
