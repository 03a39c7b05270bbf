"""Any division of a batch over ranks gives the weights of the undivided batch."""

import pytest
import torch
from torch import nn

from decametre.training.gradient import Gradient
from decametre.training.loop import start, step_once
from decametre.training.order import Endless, micro_batches
from decametre.training.ranks import ALONE
from decametre.training.recipe import read_recipe
from tests.training.team import together

BATCH, STEPS = 8, 4


class Masked:
    """A small network in float64 and losses of which a different number counts in each sample."""

    def __init__(self, samples=10**6):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()

    @staticmethod
    def draw(sample):
        random = torch.Generator().manual_seed(sample)
        x = torch.randn(3, generator=random, dtype=torch.float64)
        mask = torch.rand(4, generator=random) < (sample % 4) / 3
        return x, mask

    def batch(self, samples):
        xs, masks = zip(*map(self.draw, samples), strict=True)
        return torch.stack(xs), torch.stack(masks)

    def count(self, batch):
        return int(batch[1].sum())

    def loss(self, network, batch):
        x, mask = batch
        return ((network(x) - x.sum(1, keepdim=True)).abs() * mask).sum()


def weights_after(ranks, shares, micro_batch=None, clip=None, optimizer="adamw", wrong=False):
    """Train some steps; the weights, flat."""
    changes = {
        "optimization.batch": BATCH,
        "optimization.clip": clip,
        "optimization.optimizer": optimizer,
        "optimization.schedule": {"rule": "plateau", "rate": 0.05},
    }
    recipe = read_recipe("native_2x", changes).optimization
    task = Masked()
    state = start(task.network, recipe)
    gradient = Gradient(task, state.network, ranks)
    order = Endless(BATCH)
    for step in range(STEPS):
        # The last batch is short, as at an epoch's end.
        samples = order.samples(step)[: BATCH if step < STEPS - 1 else 5]
        parts = micro_batches(samples, shares, ranks.rank, micro_batch)
        batches = [task.batch(part) for part in parts]
        mine = sum(task.count(batch) for batch in batches)
        (count,) = ranks.sums([mine])
        if wrong:  # each rank divides by its own count, and DDP averages: the usual mistake
            count = mine * ranks.size
        step_once(state, recipe, gradient, batches, count)
    return torch.cat([weights.detach().flatten() for weights in task.network.parameters()])


@pytest.mark.parametrize(
    ("shares", "options"),
    [
        ([7, 1], {}),
        ([5, 2, 1], {}),
        ([8, 0], {}),
        ([0, 8], {"clip": 0.1}),
        ([5, 2, 1], {"clip": 0.1}),
        ([4, 4], {"micro_batch": 2}),
        ([6, 2], {"micro_batch": 2, "clip": 0.1}),
        ([6, 2], {"optimizer": "lamb"}),
    ],
)
def test_any_division_gives_the_weights_of_the_undivided_batch(shares, options, tmp_path):
    whole = weights_after(ALONE, [BATCH], **options)
    for found in together(weights_after, len(shares), tmp_path, shares=shares, **options):
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


def test_the_mean_of_the_ranks_means_is_another_gradient(tmp_path):
    """The test above can fail: this is what it would catch."""
    whole = weights_after(ALONE, [BATCH])
    found, _ = together(weights_after, 2, tmp_path, shares=[7, 1], wrong=True)
    assert float((found - whole).abs().max()) > 1e-3
