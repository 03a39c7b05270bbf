import math

import pytest
import torch

from decametre.training.recipe import OptimizationRecipe
from decametre.training.schedule import describe, learning_rate, warmup_problem


def recipe(schedule, batch=32):
    return OptimizationRecipe.model_validate({"batch": batch, "schedule": schedule})


def test_cosine_rises_and_falls_to_zero():
    cosine = recipe({"rule": "cosine", "rate": 1.0, "warmup": 5})
    assert learning_rate(0, 105, cosine, []) == pytest.approx(0.2)
    assert learning_rate(5, 105, cosine, []) == 1.0
    assert learning_rate(55, 105, cosine, []) == pytest.approx(0.5)
    assert math.isclose(learning_rate(105, 105, cosine, []), 0, abs_tol=1e-12)


@pytest.mark.parametrize(("batch", "k"), [(128, 1), (512, 4), (64, 0.5)])
def test_the_modified_linear_rule_of_the_paper(batch, k):
    rule = recipe({"rule": "modified_linear", "reference_batch": 128}, batch=batch)
    period = int(64000 / k)
    for step, halvings in ((0, 0), (period - 1, 0), (period, 1), (3 * period, 3)):
        assert learning_rate(step, 105, rule, []) == pytest.approx(1e-4 * k * 0.5**halvings)
    assert f"= {k:g}:" in describe(105, rule)


@pytest.mark.parametrize(("batch", "k"), [(256, 1), (64, 0.25), (8192, 32)])
def test_the_linear_rule_of_the_paper(batch, k):
    """0.1 x batch / 256, 5 of 100 epochs of warm-up, a tenth from epochs 30, 60 and 80 on."""
    rule = recipe({"rule": "linear_warmup"}, batch=batch)
    by_hand = {
        0: 0.02,
        1: 0.04,
        4: 0.1,
        5: 0.1,
        29: 0.1,
        30: 0.01,
        59: 0.01,
        60: 0.001,
        79: 0.001,
        80: 0.0001,
        99: 0.0001,
    }
    for step, rate in by_hand.items():
        assert learning_rate(step, 100, rule, []) == pytest.approx(rate * k)
    assert describe(100, rule) == (
        f"linear rule, k = {batch} / 256 = {k:g}: 0.1 x k = {0.1 * k:g}, warm-up 5 of 100 steps, "
        "times 0.1 at steps 30, 60, 80"
    )


def test_a_batch_k_times_as_large_has_its_milestones_k_times_earlier():
    small = recipe({"rule": "linear_warmup"}, batch=256)
    large = recipe({"rule": "linear_warmup"}, batch=1024)
    for step in (300, 599, 600, 800, 999):
        ratio = learning_rate(step, 1000, large, []) / learning_rate(4 * step, 4000, small, [])
        assert ratio == pytest.approx(4)


def test_every_input_of_the_linear_rule_counts():
    rule = recipe(
        {
            "rule": "linear_warmup",
            "rate": 2.0,
            "reference_batch": 64,
            "warmup": 0,
            "milestones": [0.5],
            "factor": 0.25,
        },
    )
    assert [learning_rate(step, 10, rule, []) for step in (0, 4, 5, 9)] == [1.0, 1.0, 0.25, 0.25]


def test_polynomial_rises_and_falls_to_zero():
    rule = recipe({"rule": "polynomial", "rate": 0.5, "warmup": 0.2}, batch=512)
    by_hand = {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0, 20: 0.75**2, 30: 0.25, 40: 0.0625, 50: 0.0}
    for step, rate in by_hand.items():
        assert learning_rate(step, 50, rule, []) == pytest.approx(rate)
    assert describe(50, rule) == (
        "linear rule, k = 512 / 256 = 2: 0.5 x k = 1, warm-up 10 of 50 steps, then to 0 as "
        "(share left)^2"
    )
    straight = recipe(
        {"rule": "polynomial", "rate": 1.0, "reference_batch": 32, "warmup": 0, "power": 1},
    )
    assert [learning_rate(step, 4, straight, []) for step in range(5)] == [
        1.0,
        0.75,
        0.5,
        0.25,
        0.0,
    ]


def test_plateau_equals_the_scheduler_of_torch():
    scores = [5.0, 4.0, 4.1, 4.2, 4.3, 3.9, 3.9, 3.9, 3.9, 3.8, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    ours = recipe({"rule": "plateau", "rate": 1.0, "patience": 2})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=0
    )
    for count, score in enumerate(scores, start=1):
        theirs.step(score)
        assert learning_rate(0, 105, ours, scores[:count]) == optimizer.param_groups[0]["lr"]
    assert optimizer.param_groups[0]["lr"] < 0.2


def test_a_warmup_as_long_as_the_run_is_reported():
    cosine = recipe({"rule": "cosine", "rate": 1.0, "warmup": 50})
    assert warmup_problem(51, cosine) == ""
    assert "50 steps is not shorter than the run of 20, so the" in warmup_problem(20, cosine)
    assert "only rises, to 0.4;" in warmup_problem(20, cosine)
    assert warmup_problem(20, recipe({"rule": "modified_linear", "reference_batch": 128})) == ""
