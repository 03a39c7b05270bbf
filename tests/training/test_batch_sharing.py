"""Shares by speed, with a fake clock, so that the speed of the machine has no influence."""

import pytest
import torch
from torch import nn

from decametre.errors import TrainingError
from decametre.recipes.reading import read_recipe
from decametre.training.batch_sharing import BatchSharing, measure_speed, ring_seconds, trial_sizes
from decametre.training.gradient import Gradient
from decametre.training.order import EndlessOrder
from decametre.training.ranks import SINGLE_PROCESS
from tests.training.team import together


def recipe(balance, batch=16, micro_batch=None):
    changes = {
        "optimization.batch": batch,
        "optimization.micro_batch": micro_batch,
        "distribution.balance": balance,
    }
    return read_recipe("native_2x", changes)


class SlowTask:
    """Each sample advances the task's clock by a given time."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0
        self.network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def clock(self):
        return self.now

    def batches(self, first, end, rank_samples):
        for step in range(first, end):
            yield [torch.ones(len(part), 2) for part in rank_samples(step)]

    def count(self, batch):
        return len(batch)

    def loss(self, network, batch):
        self.now += self.seconds * len(batch)
        return network(batch).sum()


def shares_of(ranks, balance, seconds, steps=0, later=None):
    """Shares before the first step, and after some steps with other speeds."""
    task = SlowTask(seconds[ranks.rank])
    gradient = Gradient(task, task.network, ranks, clock=task.clock)
    sharing = BatchSharing(recipe(balance), ranks, EndlessOrder(16))
    sharing.measure_speeds(task, gradient)
    first = sharing.shares
    task.seconds = (later or seconds)[ranks.rank]
    for step in range(steps):
        (batches,) = task.batches(step, step + 1, sharing.rank_samples)
        count = sum(task.count(batch) for batch in batches)
        sums = ranks.start_sum([count, *ranks.at_own_index(gradient.timer.read())])
        gradient(batches, sums.first)
        _, *times = sums.wait()
        sharing.observe(times, step - 1)
    return first, sharing.shares


def test_shares_without_measurements():
    assert BatchSharing(recipe("equal"), SINGLE_PROCESS, EndlessOrder(16)).shares == [16]
    assert BatchSharing(recipe("auto"), SINGLE_PROCESS, EndlessOrder(16)).shares == [16]
    with pytest.raises(TrainingError, match="2 weights for 1 ranks"):
        BatchSharing(recipe([1, 1]), SINGLE_PROCESS, EndlessOrder(16))
    with pytest.raises(TrainingError, match="16"):
        BatchSharing(recipe("equal", micro_batch=3), SINGLE_PROCESS, EndlessOrder(16))


CASES = {
    "slower from the start": {"balance": "auto", "seconds": [0.002, 0.006]},
    # Three times slower from the first step on: shares follow within 50 steps.
    "slower later": {
        "balance": "auto",
        "seconds": [0.003, 0.003],
        "later": [0.009, 0.003],
        "steps": 50,
    },
    "equal": {"balance": "equal", "seconds": [0.001, 0.003], "steps": 10},
}


def shares_of_cases(ranks):
    return {name: shares_of(ranks, **case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """The shares of each case, computed by two ranks."""
    first, second = together(shares_of_cases, 2, tmp_path_factory.mktemp("ranks"))
    assert first == second
    return first


def test_a_slower_rank_has_a_smaller_share_from_the_first_step_on(shares):
    first, _ = shares["slower from the start"]
    assert first == [12, 4]


def test_the_share_of_a_rank_that_slows_down_shrinks(shares):
    assert shares["slower later"] == ([8, 8], [4, 12])


def test_equal_shares_stay_equal(shares):
    assert shares["equal"] == ([8, 8], [8, 8])


def test_speed_trials_do_not_change_the_network():
    task = SlowTask(0.5)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    gradient = Gradient(task, task.network, SINGLE_PROCESS, clock=task.clock)
    speed = measure_speed(task, gradient, [2, 4], None)
    assert (speed.fixed, speed.slope) == (pytest.approx(0, abs=1e-9), pytest.approx(0.5))
    for name, value in task.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(weights.grad is None for weights in task.network.parameters())


def test_trial_batches_exceed_the_share_and_are_multiples_of_micro_batches():
    assert trial_sizes(16, 1) == [4, 8, 16, 32]
    assert trial_sizes(16, 8) == [8, 16, 32]
    assert trial_sizes(1, 1) == [1, 2]


def test_a_ring_takes_longer_with_more_ranks():
    """Each rank sends (n - 1) / n of the gradient twice."""
    assert ring_seconds(1.0, 2, 2) == 1.0
    assert ring_seconds(1.0, 2, 4) == pytest.approx(1.5)
    assert ring_seconds(1.0, 2, 1) == 0.0
