import pytest
import torch

from decametre.sentinel2.bands import bands_at
from decametre.superres.degradation.kernels import degrade
from decametre.superres.models.bicubic import bicubic
from decametre.superres.sharpening.consistency import Consistency, ResidualSums


@pytest.mark.parametrize("scale", [2, 6])
def test_a_scene_agrees_with_its_own_degradation(scale):
    check = Consistency(bands_at(10 * scale), scale)
    fine = torch.rand(1, len(check.bands), 24 * scale, 24 * scale)
    coarse = degrade(fine, check.taps, scale)
    assert float(check.residual(fine, coarse).abs().max()) == 0


@pytest.mark.parametrize("scale", [2, 6])
def test_projection_makes_the_residual_small(scale):
    torch.manual_seed(0)
    check = Consistency(bands_at(10 * scale), scale)
    coarse = torch.rand(1, len(check.bands), 60, 60)
    start = bicubic(coarse, scale)
    valid = torch.ones_like(coarse, dtype=torch.bool)
    edge = check.margin(2)
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    before = check.residual(start, coarse)[inner].square().mean().sqrt()
    after = (
        check.residual(check.project(start, coarse, valid), coarse)[inner].square().mean().sqrt()
    )
    assert float(before) > 0.05
    assert float(after) < 0.02 * float(before)


def test_unmeasured_pixels_are_not_projected():
    check = Consistency(bands_at(20), 2)
    fine = torch.rand(1, 6, 80, 80)
    coarse = torch.rand(1, 6, 40, 40)
    nothing = torch.zeros_like(coarse, dtype=torch.bool)
    torch.testing.assert_close(check.project(fine, coarse, nothing), fine)


@pytest.mark.parametrize("scale", [2, 6])
def test_pixels_beyond_the_margin_have_no_effect(scale):
    torch.manual_seed(1)
    check = Consistency(bands_at(10 * scale), scale)
    size, edge = 50, check.margin(2)
    coarse = torch.rand(1, len(check.bands), size, size)
    fine = bicubic(coarse, scale)
    valid = torch.ones_like(coarse, dtype=torch.bool)
    whole = check.residual(check.project(fine, coarse, valid), coarse)
    cut = (..., slice(3, None), slice(3, None))
    fine_cut = (..., slice(3 * scale, None), slice(3 * scale, None))
    part = check.residual(check.project(fine[fine_cut], coarse[cut], valid[cut]), coarse[cut])
    torch.testing.assert_close(
        part[..., edge:-edge, edge:-edge], whole[cut][..., edge:-edge, edge:-edge]
    )


def test_sums_by_hand():
    residual = torch.tensor([[[[0.1, 0.3]], [[1.0, 0.2]]]])
    coarse = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    valid = torch.tensor([[[[True, True]], [[False, True]]]])
    sums = ResidualSums.zeros(["B01", "B09"])
    sums += ResidualSums.of(residual, coarse, valid)
    sums += ResidualSums.of(residual, coarse, valid)
    torch.testing.assert_close(sums.squares, torch.tensor([0.2, 0.08], dtype=torch.float64))
    torch.testing.assert_close(sums.values, torch.tensor([6.0, 8.0], dtype=torch.float64))
    assert sums.count.tolist() == [4, 2]
