import math

import pytest
import torch

from decametre.training.recipe import OptimizationRecipe
from decametre.training.schedule import describe, learning_rate


def recipe(schedule, steps=105, batch=32):
    return OptimizationRecipe.model_validate({"steps": steps, "batch": batch, "schedule": schedule})


def test_cosine_rises_and_falls_to_zero():
    cosine = recipe({"rule": "cosine", "rate": 1.0, "warmup": 5})
    assert learning_rate(0, cosine, []) == pytest.approx(0.2)
    assert learning_rate(5, cosine, []) == 1.0
    assert learning_rate(55, cosine, []) == pytest.approx(0.5)
    assert math.isclose(learning_rate(105, cosine, []), 0, abs_tol=1e-12)


@pytest.mark.parametrize(("batch", "k"), [(128, 1), (512, 4), (64, 0.5)])
def test_the_modified_linear_rule_of_the_paper(batch, k):
    rule = recipe({"rule": "modified_linear", "reference_batch": 128}, batch=batch)
    period = int(64000 / k)
    for step, halvings in ((0, 0), (period - 1, 0), (period, 1), (3 * period, 3)):
        assert learning_rate(step, rule, []) == pytest.approx(1e-4 * k * 0.5**halvings)
    assert f"= {k:g}:" in describe(rule)


def test_plateau_is_that_of_torch():
    scores = [5.0, 4.0, 4.1, 4.2, 4.3, 3.9, 3.9, 3.9, 3.9, 3.8, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    ours = recipe({"rule": "plateau", "rate": 1.0, "patience": 2})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=0
    )
    for count, score in enumerate(scores, start=1):
        theirs.step(score)
        assert learning_rate(0, ours, scores[:count]) == optimizer.param_groups[0]["lr"]
    assert optimizer.param_groups[0]["lr"] < 0.2
