import time

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


class Slow:
    """A network whose samples take a given time each."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def batches(self, first, end, parts):
        for step in range(first, end):
            yield [torch.ones(len(part), 2) for part in parts(step)]

    def count(self, batch):
        return len(batch)

    def loss(self, network, batch):
        time.sleep(self.seconds * len(batch))
        return network(batch).sum()


def shares_of(ranks, balance, seconds, steps=0, later=None):
    """Shares before the first step, and after some in which the speeds are others."""
    task = Slow(seconds[ranks.rank])
    gradient = Gradient(task, task.network, ranks)
    sharing = BatchSharing(recipe(balance), ranks, EndlessOrder(16))
    sharing.measure_speeds(task, gradient)
    first = sharing.shares
    task.seconds = (later or seconds)[ranks.rank]
    for step in range(steps):
        (batches,) = task.batches(step, step + 1, sharing.rank_samples)
        counted = sum(task.count(batch) for batch in batches)
        exchange = ranks.start_sum([counted, *ranks.at_own_index(gradient.timer.read())])
        gradient(batches, exchange.first)
        _, *taken = exchange.wait()
        sharing.observe(taken, step - 1)
    return first, sharing.shares


def test_shares_without_measuring():
    assert BatchSharing(recipe("equal"), SINGLE_PROCESS, EndlessOrder(16)).shares == [16]
    assert BatchSharing(recipe("auto"), SINGLE_PROCESS, EndlessOrder(16)).shares == [16]
    with pytest.raises(TrainingError, match="2 weights for 1 ranks"):
        BatchSharing(recipe([1, 1]), SINGLE_PROCESS, EndlessOrder(16))
    with pytest.raises(TrainingError, match="16"):
        BatchSharing(recipe("equal", micro_batch=3), SINGLE_PROCESS, EndlessOrder(16))


def test_a_slower_rank_gets_less_from_the_first_step_on(tmp_path):
    found = together(shares_of, 2, tmp_path, balance="auto", seconds=[0.002, 0.006])
    (first, _), other = found
    assert other[0] == first  # the same decision everywhere
    assert first[0] in (11, 12, 13)  # 12 of 16 is its due


def test_a_rank_that_slows_down_is_given_less(tmp_path):
    """Three times slower, that is: within 50 steps."""
    (first, last), _ = together(
        shares_of,
        2,
        tmp_path,
        balance="auto",
        seconds=[0.003, 0.003],
        later=[0.009, 0.003],
        steps=50,
    )
    assert abs(first[0] - 8) <= 2
    assert last[0] in (3, 4, 5)  # 4 of 16 is its due
    assert sum(last) == 16


def test_equal_shares_stay_equal(tmp_path):
    (first, last), _ = together(
        shares_of, 2, tmp_path, balance="equal", seconds=[0.001, 0.003], steps=10
    )
    assert first == last == [8, 8]


def test_timing_leaves_the_network_as_it_was():
    task = Slow(0.0)
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    measure_speed(task, Gradient(task, task.network, SINGLE_PROCESS), [2, 4], None)
    for name, value in task.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(weights.grad is None for weights in task.network.parameters())


def test_trial_batches_go_beyond_the_share_and_are_whole_micro_batches():
    assert trial_sizes(16, 1) == [4, 8, 16, 32]
    assert trial_sizes(16, 8) == [8, 16, 32]
    assert trial_sizes(1, 1) == [1, 2]


def test_a_ring_takes_longer_the_more_there_are():
    """Each rank sends (n - 1) / n of the gradient twice."""
    assert ring_seconds(1.0, 2, 2) == 1.0
    assert ring_seconds(1.0, 2, 4) == pytest.approx(1.5)
    assert ring_seconds(1.0, 2, 1) == 0.0
