import pytest
import torch
import torch.nn.functional as F

from decametre.superres.models.bicubic import bicubic, enlarge


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("factor", [2, 3, 6])
def test_a_size_gives_the_bits_of_a_factor(mode, factor):
    for edge in (1, 7, 30, 61):
        image = torch.rand(1, 2, edge, edge + 1)
        expected = F.interpolate(image, scale_factor=factor, mode=mode, align_corners=False)
        assert torch.equal(enlarge(image, factor, mode), expected)
    assert torch.equal(bicubic(image, factor), enlarge(image, factor, "bicubic"))
