import pytest
import torch
import torch.nn.functional as F
from torch import nn

from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.native import NativeTrunk
from decametre.superres.models.prediction import predict


class BlockMeans(nn.Module):
    """Adds to each coarse pixel the mean of its 4 x 4 window, as windowed attention may."""

    def forward(self, reflectance, measured=None):
        coarse = reflectance[20]
        assert coarse.shape[-2] % 4 == coarse.shape[-1] % 4 == 0
        means = F.interpolate(F.avg_pool2d(coarse, 4), scale_factor=8)
        return bicubic(coarse, 2) + means + F.avg_pool2d(reflectance[10].mean(1, True), 3, 1, 1)


@pytest.mark.parametrize("alignment", [4, 8])
@pytest.mark.parametrize("margin", [0, 4, 7])
def test_windows_start_at_multiples_of_the_alignment(margin, alignment):
    coarse = torch.rand(1, 2, 13, 22, generator=torch.manual_seed(0))
    inputs = {10: torch.zeros(1, 1, 26, 44), 20: coarse}
    found = predict(BlockMeans(), inputs, margin, alignment)
    assert found.shape == (1, 2, 26, 44)
    # The first window is that of the image's first pixel, whatever the padding.
    first = coarse[..., :4, :4]
    # Inside, that is: without a margin bicubic repeats the edge, with one it sees it mirrored.
    expected = bicubic(coarse[..., :8, :8], 2)[..., :6, :6] + first.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(found[..., 4:6, 4:6], expected[..., 4:6, 4:6], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("margin", "alignment"), [(6, 4), (7, 1)])
def test_tiled_equals_untiled(margin, alignment):
    generator = torch.manual_seed(0)
    inputs = {
        10: torch.rand(1, 4, 74, 122, generator=generator),
        20: torch.rand(1, 6, 37, 61, generator=generator),
    }
    if alignment == 4:
        network = BlockMeans()
    else:
        network = NativeTrunk({10: 4, 20: 6}, width=8, blocks=2).eval()
        nn.init.normal_(network.tail.weight, std=0.1)
        assert network.margin <= margin
    whole = predict(network, inputs, margin, alignment)
    for tile in (16, 30, 80):
        tiled = predict(network, inputs, margin, alignment, tile=tile)
        torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)
