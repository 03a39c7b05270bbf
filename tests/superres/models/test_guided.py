import math

import pytest
import torch
import torch.nn.functional as F

from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.guided import (
    BICUBIC_EXCESS,
    SELECTIVITY,
    GuidedTrunk,
    excess_errors,
)
from decametre.superres.models.prediction import predict
from decametre.superres.models.regression import Fit, local_regressions
from tests.superres.models.receptive import images, randomize, reach_of

BANDS_IN = {10: 4, 20: 6, 60: 2}
REGRESSIONS = [
    {"radius": 2, "ridge": 1e-3},
    {"radius": 1, "ridge": 1e-2, "gain": 0.3, "softened": True},
]


def network(**changes):
    options = {"width": 8, "blocks": 1, "regressions": REGRESSIONS} | changes
    return GuidedTrunk(BANDS_IN, **options)


def test_it_starts_as_the_mean_of_bicubic_and_regressions_by_their_errors():
    inputs = images(9, BANDS_IN, batch=2)
    # The same in the four pixels of 10 m in each of 20 m: no details inside.
    inputs[10] = inputs[10][..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    inside = inputs[10] - bicubic(F.avg_pool2d(inputs[10], 2), 2)
    measured = torch.rand(2, 1, 9, 9)
    fits = [Fit(**settings) for settings in REGRESSIONS]
    pooled = {20: torch.cat([F.avg_pool2d(inputs[10], 2), inputs[20]], dim=1), 60: inputs[60]}
    fitted = local_regressions(pooled, measured, fits)
    excess = F.interpolate(
        excess_errors(fitted.missed, measured).flatten(1, 2), scale_factor=3, mode="bilinear"
    )
    scores = torch.cat([excess, torch.full_like(excess[:, :2], BICUBIC_EXCESS)], dim=1)
    shares = (-SELECTIVITY * scores.unflatten(1, (3, 2))).softmax(dim=1)
    proposals = [fitted.predicted[:, i] + bicubic(fitted.missed[:, i], 3) for i in range(2)]
    proposals.append(bicubic(inputs[60], 3))
    expected = bicubic(sum(shares[:, i] * proposals[i] for i in range(3)), 2)
    for fit in range(2):
        slopes = F.interpolate(
            fitted.coefficients[:, fit, :, :4].flatten(1, 2), scale_factor=3, mode="bilinear"
        )
        slopes = slopes.unflatten(1, (2, 4)) * shares[:, fit, :, None]
        slopes = slopes.repeat_interleave(2, 3).repeat_interleave(2, 4)
        expected = expected + (slopes * inside[:, None]).sum(dim=2)
    torch.testing.assert_close(network()(inputs, measured), expected, atol=1e-5, rtol=1e-4)


def test_excess_errors_compare_regressions_in_a_window():
    """Twice the error is log 2, wherever it is in the window; unmeasured pixels do not count."""
    missed = torch.zeros(1, 2, 1, 20, 20)
    missed[:, 0, :, 10, 10], missed[:, 1, :, 10, 10] = 0.1, -0.2
    missed[:, 1, :, 10, 17] = 5.0
    measured = torch.ones(1, 1, 20, 20)
    measured[..., 10, 17] = 0
    excess = excess_errors(missed, measured)
    assert (excess[:, 0] == 0).all()
    assert float(excess[0, 1, 0, 6, 12]) == pytest.approx(math.log(2), rel=0.01)
    assert float(excess[0, 1, 0, 2, 2]) == 0  # too far from either
    spoilt = excess_errors(missed, torch.ones_like(measured))
    assert spoilt[0, 1, 0, 10, 14] > 3


def test_details_of_the_10_m_bands_are_injected():
    """A 60 m band that is a mixture of 10 m bands: known regressions give it back at 10 m."""
    torch.manual_seed(0)
    inputs = images(24, BANDS_IN)
    truth = 0.3 * inputs[10][:, :1] + 0.5 * inputs[10][:, 3:]
    inputs[60] = F.avg_pool2d(truth, 6).expand(-1, 2, -1, -1).contiguous()
    guided = network(regressions=[{"radius": 6, "ridge": 0.0}])
    guided.tail.bias.data[:4] = torch.tensor([20.0, 20.0, -20.0, -20.0])  # the regression alone
    middle = (..., slice(36, -36), slice(36, -36))
    found = guided(inputs)[middle]
    error = (found - truth[middle]).square().mean().sqrt()
    # Between pixels of 20 m, bicubic interpolation stands for what injection does not add.
    assert error < 0.02 * truth.std()


def test_the_margin_is_no_less_than_the_receptive_field():
    torch.manual_seed(0)
    guided = network()
    randomize(guided, std=0.1)
    size = 2 * guided.margin + 5
    reach = reach_of(guided, BANDS_IN, size, size // 2, torch.float32)
    assert guided.margin - 4 <= reach <= guided.margin


def test_the_result_does_not_depend_on_the_tiling():
    torch.manual_seed(0)
    # Enough examples for ten bands: else the last digits of a sum make the first of a slope.
    guided = network(
        regressions=[{"radius": 4, "ridge": 1e-2}, {"radius": 3, "ridge": 1e-2, "gain": 0.3}]
    )
    randomize(guided, std=0.05)
    inputs = images(40, BANDS_IN)
    measured = (torch.rand(1, 1, 40, 40) > 0.2).float()
    whole, tiled = (
        predict(guided, inputs, guided.margin, tile=tile, measured=measured) for tile in (240, 60)
    )
    # Of noise little is left on the coarse grid, and slopes there have few right digits.
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)


def test_the_gradient_reaches_every_weight():
    torch.manual_seed(0)
    guided = network()
    randomize(guided, std=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        found = guided(images(6, BANDS_IN))
    assert found.dtype == torch.float32
    found.square().sum().backward()
    for name, weights in guided.named_parameters():
        assert float(weights.grad.abs().sum()) > 0, name


def test_invalid_sizes_are_errors():
    with pytest.raises(ValueError, match="regressions not empty"):
        network(regressions=[])
    with pytest.raises(ValueError, match=r"cannot use \[10, 20\] m"):
        GuidedTrunk({10: 4, 20: 6}, width=8, blocks=1, regressions=REGRESSIONS)


def test_an_unused_rim_does_not_change_the_result_inside():
    torch.manual_seed(0)
    guided = network()
    randomize(guided, std=0.1)
    size, margin = 2 * guided.margin + 3, guided.margin
    inputs = images(size, BANDS_IN)
    measured = torch.rand(1, 1, size, size)
    inside = (..., slice(6 * margin, -6 * margin), slice(6 * margin, -6 * margin))
    with torch.inference_mode():
        complete, cropped = guided(inputs, measured), guided(inputs, measured, unused=margin)
    assert cropped.shape == complete.shape
    assert (cropped[..., 0] == 0).all()
    # Interpolation rounds its positions, and noise leaves slopes few right digits.
    torch.testing.assert_close(cropped[inside], complete[inside], atol=1e-4, rtol=0)
