import pytest
import torch

from decametre.models.bicubic import bicubic
from decametre.models.native import NativeTrunk


def images(coarsest, size, counts):
    return {
        gsd: torch.rand(1, n, size * coarsest // gsd, size * coarsest // gsd)
        for gsd, n in counts.items()
    }


@pytest.mark.parametrize("counts", [{10: 4, 20: 6}, {10: 4, 20: 6, 60: 2}])
def test_it_starts_as_bicubic_interpolation(counts):
    coarsest = max(counts)
    inputs = images(coarsest, 8, counts)
    found = NativeTrunk(counts, width=8, blocks=2)(inputs)
    torch.testing.assert_close(found, bicubic(inputs[coarsest], coarsest // 10))


@pytest.mark.parametrize("counts", [{10: 4, 20: 6}, {10: 4, 20: 6, 60: 2}])
def test_the_margin_is_the_receptive_field(counts):
    """Measured by gradients: nothing beyond the margin matters, and something at it may."""
    torch.manual_seed(0)
    network = NativeTrunk(counts, width=8, blocks=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    coarsest, size = max(counts), 2 * network.margin + 5
    inputs = {g: x.requires_grad_() for g, x in images(coarsest, size, counts).items()}
    factor, middle = coarsest // 10, size // 2
    at = slice(middle * factor, (middle + 1) * factor)
    network(inputs)[..., at, at].sum().backward()
    for gsd, image in inputs.items():
        step = coarsest // gsd
        seen = image.grad.abs().sum(dim=(0, 1)) > 0
        rows = torch.nonzero(seen.any(dim=1)).ravel() // step - middle
        cols = torch.nonzero(seen.any(dim=0)).ravel() // step - middle
        assert max(-rows.min(), rows.max(), -cols.min(), cols.max()) == network.margin
