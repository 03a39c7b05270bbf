import pytest
import torch

from decametre.models.bicubic import bicubic
from decametre.models.native import NativeTrunk
from tests.models.receptive import images, randomize, reach_of


@pytest.mark.parametrize("counts", [{10: 4, 20: 6}, {10: 4, 20: 6, 60: 2}])
def test_it_starts_as_bicubic_interpolation(counts):
    coarsest = max(counts)
    inputs = images(8, counts)
    found = NativeTrunk(counts, width=8, blocks=2)(inputs)
    torch.testing.assert_close(found, bicubic(inputs[coarsest], coarsest // 10))


@pytest.mark.parametrize("counts", [{10: 4, 20: 6}, {10: 4, 20: 6, 60: 2}])
def test_the_margin_is_the_receptive_field(counts):
    """Measured by gradients: nothing beyond the margin matters, and something at it may."""
    torch.manual_seed(0)
    network = NativeTrunk(counts, width=8, blocks=2)
    randomize(network)
    size = 2 * network.margin + 5
    assert reach_of(network, counts, size, size // 2) == network.margin
