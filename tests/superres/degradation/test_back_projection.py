import pytest
import torch

from decametre.options import KERNELS
from decametre.sentinel2.bands import bands_at
from decametre.superres.degradation.back_projection import margin_of, project, reach_of, residual_of
from decametre.superres.degradation.kernels import degrade, inverse_taps, kernel_taps

SCALES = pytest.mark.parametrize("scale", [2, 6])
BOTH_KERNELS = pytest.mark.parametrize("kernel", KERNELS)
LEFT = {"dsen2": 2e-4, "mtf": 0.05}
"""What one step leaves of a residual at most."""


def case(kernel, scale, size=40):
    torch.manual_seed(0)
    bands = bands_at(10 * scale)
    taps = kernel_taps(kernel, bands, scale)
    fine = torch.rand(1, len(bands), size * scale, size * scale, dtype=torch.float64)
    coarse = torch.rand(1, len(bands), size, size, dtype=torch.float64)
    return taps, inverse_taps(taps, scale), fine, coarse


@BOTH_KERNELS
@SCALES
@pytest.mark.parametrize("steps", [1, 2])
def test_each_step_leaves_at_most_the_stated_residual(kernel, scale, steps):
    taps, inverse, fine, coarse = case(kernel, scale)
    edge = margin_of(taps, scale, steps) + reach_of(taps, scale)
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    before = residual_of(fine, coarse, taps, scale)[inner].square().mean(dim=(0, 2, 3)).sqrt()
    fine = project(fine, coarse, taps, inverse, scale, steps)
    after = residual_of(fine, coarse, taps, scale)[inner].square().mean(dim=(0, 2, 3)).sqrt()
    assert (before > 0.2).all()
    assert (after < LEFT[kernel] ** steps * before).all()


@BOTH_KERNELS
@SCALES
def test_a_consistent_image_is_unchanged(kernel, scale):
    taps, inverse, fine, _ = case(kernel, scale)
    coarse = degrade(fine, taps, scale)
    torch.testing.assert_close(project(fine, coarse, taps, inverse, scale, 2), fine)


@BOTH_KERNELS
@SCALES
def test_the_margin_is_the_receptive_field(kernel, scale):
    """By gradients, of the coarse image, whose reach is the longest."""
    taps, inverse, fine, coarse = case(kernel, scale)
    coarse.requires_grad_()
    fine.requires_grad_()
    middle = slice(20 * scale, 21 * scale)
    project(fine, coarse, taps, inverse, scale, 1)[..., middle, middle].sum().backward()
    reach = margin_of(taps, scale, 1)
    for image, step in ((coarse, 1), (fine, scale)):
        seen = torch.nonzero(image.grad.abs().sum(dim=(0, 1, 3))).ravel() // step - 20
        assert -reach <= int(seen.min())
        assert int(seen.max()) <= reach
    assert int(seen.max()) == reach
