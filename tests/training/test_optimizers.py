import math

import pytest
import torch
from torch import nn

from decametre.training.optimizers import build_optimizer
from decametre.training.recipe import OptimizationRecipe

SCHEDULE = {"rule": "plateau", "rate": 1.0}


def recipe(**changes):
    return OptimizationRecipe.model_validate({"batch": 1, "schedule": SCHEDULE} | changes)


class Tiny(nn.Module):
    """A weight of norm 5 and a bias of norm 2."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([0.0, 2.0], dtype=torch.float64))


def step(tiny, optimizer, rate, weight, bias=(0.0, 0.0)):
    """One step along given gradients."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    tiny.weight.grad = torch.tensor([weight], dtype=torch.float64)
    tiny.bias.grad = torch.tensor(bias, dtype=torch.float64)
    optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "lamb"])
def test_biases_have_no_weight_decay(name):
    optimizer = build_optimizer(nn.Linear(2, 2), recipe(optimizer=name, weight_decay=0.1))
    assert type(optimizer).__name__.lower() == name
    groups = optimizer.param_groups
    assert [(g["weight_decay"], g["params"][0].ndim) for g in groups] == [(0.1, 2), (0.0, 1)]


def test_adamw_is_the_default():
    optimizer = build_optimizer(Tiny(), recipe(betas=(0.8, 0.9), eps=1e-6))
    assert type(optimizer) is torch.optim.AdamW
    assert {(group["betas"], group["eps"]) for group in optimizer.param_groups} == {
        ((0.8, 0.9), 1e-6)
    }


def test_frozen_weights_are_not_trained():
    network = nn.Linear(2, 2)
    network.weight.requires_grad = False
    weights, others = build_optimizer(network, recipe()).param_groups
    assert (weights["params"], others["params"]) == ([], [network.bias])


def test_nesterov_by_hand():
    """The momentum after this step's gradient, and the gradient once more."""
    tiny = Tiny()
    sgd = recipe(optimizer="sgd", momentum=0.9, nesterov=True, weight_decay=0.1)
    optimizer = build_optimizer(tiny, sgd)
    step(tiny, optimizer, 0.1, [1.0, 0.0])
    first = 1.0 + 0.1 * 3.0  # an L2 penalty: part of the gradient
    assert tiny.weight[0, 0].item() == pytest.approx(3.0 - 0.1 * (first + 0.9 * first))
    was = tiny.weight[0, 0].item()
    step(tiny, optimizer, 0.1, [2.0, 0.0])
    second = 2.0 + 0.1 * was
    moved = second + 0.9 * (0.9 * first + second)
    assert tiny.weight[0, 0].item() == pytest.approx(was - 0.1 * moved)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_trust_ratio_of_lars_by_hand(decay):
    """0.001 x norm of the weight / (norm of the gradient + decay x norm of the weight)."""
    tiny = Tiny()
    optimizer = build_optimizer(tiny, recipe(optimizer="lars", momentum=0.9, weight_decay=decay))
    step(tiny, optimizer, 2.0, [0.6, 0.8], bias=[0.5, 0.0])
    ratio = 0.001 * 5.0 / (1.0 + decay * 5.0)
    expected = [3.0 - 2.0 * ratio * (0.6 + decay * 3.0), 4.0 - 2.0 * ratio * (0.8 + decay * 4.0)]
    assert tiny.weight[0].tolist() == pytest.approx(expected)
    assert tiny.bias.tolist() == [0.0 - 2.0 * 0.5, 2.0]  # SGD's step: no ratio


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_trust_ratio_of_lamb_by_hand(decay):
    """Adam's first step goes along the gradient's sign, here with the norm of the weight."""
    tiny = Tiny()
    optimizer = build_optimizer(tiny, recipe(optimizer="lamb", weight_decay=decay))
    step(tiny, optimizer, 0.01, [60.0, 80.0], bias=[0.5, -7.0])
    update = [1.0 + decay * 3.0, 1.0 + decay * 4.0]
    ratio = 5.0 / math.hypot(*update)
    expected = [3.0 - 0.01 * ratio * update[0], 4.0 - 0.01 * ratio * update[1]]
    assert tiny.weight[0].tolist() == pytest.approx(expected)
    assert tiny.bias.tolist() == pytest.approx([-0.01, 2.01])  # Adam's step: no ratio


def test_lamb_does_not_clip():
    tiny = Tiny()
    optimizer = build_optimizer(tiny, recipe(optimizer="lamb"))
    step(tiny, optimizer, 0.01, [60.0, 80.0])
    assert optimizer.state[tiny.weight]["exp_avg"][0].tolist() == pytest.approx([6.0, 8.0])
