import pytest
import torch
import torch.nn.functional as F

from decametre.superres.models.rsa import MEANS, ResidualSelfAttention
from tests.superres.models.receptive import (
    assert_every_weight_has_a_gradient,
    images,
    randomize,
    reach_of,
)

COUNTS_2X = {10: 4, 20: 6}
COUNTS_6X = {10: 4, 20: 6, 60: 2}
BOTH = pytest.mark.parametrize("counts", [COUNTS_2X, COUNTS_6X])


@BOTH
def test_the_network_of_the_paper(counts):
    """128 filters everywhere but 16 in f and g, six blocks with attention behind the third."""
    network = ResidualSelfAttention(counts)
    grids = len(counts)
    conv = 9 * 128 * 128 + 128
    expected = (
        9 * 128 * sum(counts.values())  # branches
        + grids * 128
        + 9 * 128 * grids * 128  # fusion
        + 128
        + 12 * conv
        + 2 * 128 * 16  # f, g
        + 16
        + (128 * 128 + 128)  # h
        + 1  # gamma
        + (9 * 128 + 1) * counts[max(counts)]
    )
    assert sum(p.numel() for p in network.parameters()) == expected
    kinds = [type(layer).__name__ for layer in network.trunk]
    assert kinds == ["DSen2Block"] * 3 + ["WindowAttention"] + ["DSen2Block"] * 3
    assert network.trunk[3].window == 16 * max(counts) // 10
    assert (network.margin, network.alignment) == ({20: 24, 60: 20}[max(counts)], 16)


@BOTH
def test_it_adds_to_bilinear_interpolation(counts):
    network = ResidualSelfAttention(counts, width=8, blocks=2, key_width=2, window=4)
    torch.nn.init.zeros_(network.tail.weight)
    inputs, coarsest = images(8, counts), max(counts)
    expected = F.interpolate(inputs[coarsest], scale_factor=coarsest // 10, mode="bilinear")
    torch.testing.assert_close(network(inputs), expected)


@BOTH
def test_the_mean_of_the_input_moves_to_zero(counts):
    """Bands at their means give features of nothing but biases: all 0 at the start."""
    network = ResidualSelfAttention(counts, width=8, blocks=2, key_width=2, window=4)
    inputs = {
        g: x * 0 + torch.tensor(MEANS[g])[:, None, None] for g, x in images(8, counts).items()
    }
    torch.testing.assert_close(
        network(inputs), torch.tensor(MEANS[max(counts)])[:, None, None].expand_as(network(inputs))
    )


@BOTH
@pytest.mark.parametrize("window", [2, 3])
def test_the_margin_is_the_receptive_field(counts, window):
    """Nothing beyond the margin matters, and for one place in a window something at it does."""
    torch.manual_seed(0)
    network = ResidualSelfAttention(counts, width=8, blocks=2, key_width=4, window=window)
    randomize(network)
    middle = (network.margin // window + 1) * window
    size = 2 * middle + window
    reach = [reach_of(network, counts, size, middle + place) for place in range(window)]
    assert max(reach) == network.margin


def test_invalid_sizes_are_errors():
    with pytest.raises(ValueError, match="12 means for 9 bands; give one"):
        ResidualSelfAttention({10: 3, 20: 4, 60: 2})
    network = ResidualSelfAttention({10: 1, 20: 2}, 8, 2, 2, 4, means=[0.1, 0.2, 0.3])
    assert network(images(4, {10: 1, 20: 2})).shape == (1, 2, 8, 8)
    with pytest.raises(ValueError, match=r"6 x 6 pixels, .*window of 4"):
        network(images(6, {10: 1, 20: 2}))


@BOTH
def test_gradients_reach_every_weight(counts):
    torch.manual_seed(1)
    network = ResidualSelfAttention(counts, width=8, blocks=2, key_width=2, window=2)
    torch.nn.init.constant_(network.trunk[1].gamma, 0.5)
    assert_every_weight_has_a_gradient(network, counts)
