import pytest
import torch

from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.native import NativeTrunk
from tests.superres.models.receptive import (
    assert_every_weight_has_a_gradient,
    images,
    randomize,
    reach_of,
)

BOTH = pytest.mark.parametrize("counts", [{10: 4, 20: 6}, {10: 4, 20: 6, 60: 2}])
OPTIONS = pytest.mark.parametrize(
    "options", [{}, {"attention": 4}, {"bias": False}, {"attention": 4, "bias": False}], ids=str
)


@BOTH
@OPTIONS
def test_it_starts_as_bicubic_interpolation(counts, options):
    coarsest = max(counts)
    inputs = images(8, counts)
    found = NativeTrunk(counts, width=8, blocks=2, **options)(inputs)
    torch.testing.assert_close(found, bicubic(inputs[coarsest], coarsest // 10))


@BOTH
def test_the_margin_is_the_receptive_field(counts):
    """Measured by gradients: nothing beyond the margin matters, and something at it may."""
    torch.manual_seed(0)
    network = NativeTrunk(counts, width=8, blocks=2)
    randomize(network)
    size = 2 * network.margin + 5
    assert reach_of(network, counts, size, size // 2) == network.margin


@BOTH
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_margin_with_attention_is_the_receptive_field(counts, blocks):
    """For one place in a window it is reached, for none exceeded."""
    torch.manual_seed(0)
    network = NativeTrunk(counts, width=8, blocks=blocks, attention=3)
    randomize(network)
    middle = (network.margin // 3 + 1) * 3
    reach = [reach_of(network, counts, 2 * middle + 3, middle + place) for place in range(3)]
    assert network.alignment == 3
    # An odd number of blocks has the longer half behind the attention, and the sum is the same.
    assert max(reach) == network.margin == 2 * blocks + 4


@BOTH
@pytest.mark.parametrize("attention", [0, 4])
def test_without_biases_it_is_equivariant_to_gain(counts, attention):
    torch.manual_seed(0)
    inputs = images(8, counts)
    brighter = {gsd: 4 * image for gsd, image in inputs.items()}
    for bias in (False, True):
        network = NativeTrunk(counts, width=8, blocks=2, attention=attention, bias=bias)
        randomize(network)
        difference = (network(brighter) - 4 * network(inputs)).detach().abs().max()
        scale = network(brighter).detach().abs().max()
        if bias:
            assert float(difference) > 1e-3 * float(scale)
        else:
            assert float(difference) < 1e-6 * float(scale)
            assert all("bias" not in name for name in network.state_dict())


def test_attention_needs_multiples_of_windows_and_heads():
    network = NativeTrunk({10: 4, 20: 6}, width=8, blocks=2, attention=4)
    with pytest.raises(ValueError, match=r"6 x 6 pixels, .*window of 4"):
        network(images(6, {10: 4, 20: 6}))
    with pytest.raises(ValueError, match="4 heads do not divide 6 channels"):
        NativeTrunk({10: 4, 20: 6}, width=6, blocks=2, attention=4, heads=4)


@BOTH
def test_attention_learns_in_autocast(counts):
    torch.manual_seed(0)
    network = NativeTrunk(counts, width=8, blocks=2, attention=2)
    randomize(network)
    assert_every_weight_has_a_gradient(network, counts)
