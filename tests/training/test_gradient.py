"""Any division of a batch over ranks gives the weights of the undivided batch."""

import pytest
import torch
from torch import nn

from decametre.recipes.reading import read_recipe
from decametre.training.gradient import Gradient, bucket_size
from decametre.training.loop import initial_state, train_step
from decametre.training.order import EndlessOrder, micro_batches
from decametre.training.ranks import SINGLE_PROCESS
from tests.training.team import together

BATCH, STEPS = 8, 4


class Masked:
    """A small network in float64 and losses of which a different number counts in each sample."""

    def __init__(self):
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


def weights_after(
    ranks, shares, micro_batch=None, clip=None, optimizer="adamw", wrong=False, compression="none"
):
    """Train some steps; the weights, flat."""
    changes = {
        "optimization.batch": BATCH,
        "optimization.clip": clip,
        "optimization.optimizer": optimizer,
        "optimization.schedule": {"rule": "plateau", "rate": 0.05},
    }
    recipe = read_recipe("native_2x", changes).optimization
    task = Masked()
    state = initial_state(task.network, recipe)
    gradient = Gradient(task, state.network, ranks, compression)
    order = EndlessOrder(BATCH)
    for step in range(STEPS):
        # The last batch is short, as at an epoch's end.
        samples = order.samples(step)[: BATCH if step < STEPS - 1 else 5]
        parts = micro_batches(samples, shares, ranks.rank, micro_batch)
        batches = [task.batch(part) for part in parts]
        mine = sum(task.count(batch) for batch in batches)
        (count,) = ranks.sum([mine])
        if wrong:  # each rank divides by its own count, and DDP averages: the usual mistake
            count = mine * ranks.size
        train_step(state, STEPS, recipe, gradient, batches, SINGLE_PROCESS.start_sum([count]).first)
    return torch.cat([weights.detach().flatten() for weights in task.network.parameters()])


EXACT = [
    ([7, 1], {}),
    ([8, 0], {}),
    ([0, 8], {"clip": 0.1}),
    ([4, 4], {"micro_batch": 2}),
    ([6, 2], {"micro_batch": 2, "clip": 0.1}),
    ([6, 2], {"optimizer": "lamb"}),
    ([5, 2, 1], {}),
    ([5, 2, 1], {"clip": 0.1, "optimizer": "sgd"}),
    ([2, 6, 0], {"micro_batch": 2}),
]
WRONG = ([7, 1], {"wrong": True})
COMPRESSED = [([5, 3], {"compression": name}) for name in ("fp16", "bf16")]
CASES = [*EXACT, WRONG, *COMPRESSED]


def weights_of_cases(ranks, cases):
    return [weights_after(ranks, shares, **options) for shares, options in cases]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """For each case the weights that each rank ends with; processes take seconds to start."""
    weights = {}
    for size in {len(shares) for shares, _ in CASES}:
        cases = [case for case in CASES if len(case[0]) == size]
        folder = tmp_path_factory.mktemp(f"ranks{size}")
        of_ranks = together(weights_of_cases, size, folder, cases=cases)
        for case, *ends in zip(cases, *of_ranks, strict=True):
            weights[str(case)] = ends
    return weights


@pytest.mark.parametrize("case", EXACT, ids=str)
def test_any_division_gives_the_weights_of_the_undivided_batch(case, found):
    shares, options = case
    whole = weights_after(SINGLE_PROCESS, [BATCH], **options)
    assert len(found[str(case)]) == len(shares)
    for weights in found[str(case)]:
        torch.testing.assert_close(weights, whole, rtol=0, atol=1e-12)


def test_the_mean_of_the_ranks_means_is_another_gradient(found):
    """The test above can fail: this is what it would catch."""
    whole = weights_after(SINGLE_PROCESS, [BATCH])
    wrong, _ = found[str(WRONG)]
    assert float((wrong - whole).abs().max()) > 1e-3


@pytest.mark.parametrize("case", COMPRESSED, ids=str)
def test_compressed_gradients_come_close_and_are_the_same_on_every_rank(case, found):
    whole = weights_after(SINGLE_PROCESS, [BATCH])
    first, second = found[str(case)]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    assert 0 < float((first - whole).abs().max()) < 0.05  # four steps of 0.05


@pytest.mark.parametrize(
    ("weights", "expected"), [(1000, 0.25), (2**20, 0.5), (24 * 2**20, 12.0), (300 * 2**20, 25.0)]
)
def test_a_gradient_travels_in_a_few_parts(weights, expected):
    with torch.device("meta"):
        network = nn.Linear(weights, 1, bias=False)
        frozen = nn.Linear(weights, 1).requires_grad_(False)
    assert bucket_size(nn.Sequential(network, frozen)) == expected
