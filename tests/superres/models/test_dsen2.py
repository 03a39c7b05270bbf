import pytest
import torch
import torch.nn.functional as F

from decametre.superres.models.dsen2 import DSen2
from tests.superres.models.receptive import images, randomize, reach_of

COUNTS = [{10: 4, 20: 6}, {10: 4, 20: 6, 60: 2}]


def test_published_sizes():
    """Lanaras et al. 2018, Table II: 1.8 and 37.8 million weights."""
    network = DSen2(COUNTS[0])
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(1.79e6, rel=0.01)
    deep = DSen2(COUNTS[0], width=256, blocks=32)
    assert sum(p.numel() for p in deep.parameters()) == pytest.approx(37.8e6, rel=0.01)


def test_weights_start_he_uniform():
    torch.manual_seed(0)
    weights = DSen2(COUNTS[0]).trunk[0].conv1.weight
    limit = (6 / (128 * 9)) ** 0.5
    assert 0.99 * limit < float(weights.detach().abs().max()) <= limit
    assert float(weights.detach().square().mean()) == pytest.approx(limit**2 / 3, rel=0.01)


@pytest.mark.parametrize("counts", COUNTS)
def test_it_adds_to_bilinear_interpolation(counts):
    network = DSen2(counts, width=8, blocks=1)
    torch.nn.init.zeros_(network.tail.weight)
    inputs, coarsest = images(6, counts), max(counts)
    expected = F.interpolate(inputs[coarsest], scale_factor=coarsest // 10, mode="bilinear")
    torch.testing.assert_close(network(inputs), expected)


@pytest.mark.parametrize("counts", COUNTS)
def test_the_margin_covers_the_receptive_field(counts):
    """To the pixel at 2x; at 6x interpolation may stay within the last pixel's cell."""
    torch.manual_seed(0)
    network = DSen2(counts, width=8, blocks=6)
    randomize(network)
    size = 2 * network.margin + 5
    reach = reach_of(network, counts, size, size // 2)
    assert reach == {20: 8, 60: 3}[max(counts)]
    assert network.margin == {20: 8, 60: 4}[max(counts)]
