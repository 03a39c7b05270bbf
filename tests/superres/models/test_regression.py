import pytest
import torch

from decametre.superres.degradation.kernels import blurred_square_taps, degrade
from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.registry import load_model
from decametre.superres.models.regression import Fit, Regression, box_sum, local_regressions
from tests.superres.models.receptive import images, reach_of

BANDS_IN = {10: 4, 20: 6, 60: 2}
EDGE = 14
ATOL = 1e-4
"""The ridge has a floor, which is felt where examples are as few as in a corner."""


def ground(seed=0, edge=EDGE):
    """Finer bands at random; the 60 m bands are the means of a mixture of the 10 m bands."""
    random = torch.Generator().manual_seed(seed)
    fine = torch.rand(2, 4, 6 * edge, 6 * edge, generator=random) * 0.3
    middle = torch.rand(2, 6, 3 * edge, 3 * edge, generator=random) * 0.3
    mixture = torch.tensor([[0.5, 0.2, 0.0, 0.1], [0.0, 0.0, 0.3, 0.6]])
    truth = torch.einsum("ob,nbrc->norc", mixture, fine) + 0.05
    coarse = torch.nn.functional.avg_pool2d(truth, 6)
    return {10: fine, 20: middle, 60: coarse}, truth


def everywhere(edge=EDGE):
    return torch.ones(2, 1, edge, edge, dtype=torch.bool)


def test_a_linear_mixture_is_found_exactly():
    inputs, truth = ground()
    _, predicted, missed = local_regressions(inputs, everywhere(), [Fit(6, 0.0)])
    assert predicted.shape == (2, 1, 2, 6 * EDGE, 6 * EDGE)
    assert missed.shape == (2, 1, 2, EDGE, EDGE)
    torch.testing.assert_close(predicted[:, 0], truth, rtol=0, atol=ATOL)
    assert float(missed.abs().max()) < 1e-5


@pytest.mark.parametrize("gain", [0.2, 0.5])
def test_the_fit_with_the_right_kernel_has_the_least_error(gain):
    inputs, truth = ground()
    taps = blurred_square_taps(gain, 0.0, 6, 12).expand(2, -1)
    inputs[60] = degrade(truth, taps, 6)
    gains = (0.1, 0.2, 0.35, 0.5, None)
    _, predicted, missed = local_regressions(
        inputs, everywhere(), [Fit(6, 1e-6, gain) for gain in gains]
    )
    at = gains.index(gain)
    torch.testing.assert_close(predicted[:, at], truth, rtol=0, atol=0.01)
    misses = missed.square().mean(dim=(0, 2, 3, 4))
    assert int(misses.argmin()) == at


def test_softened_examples_depend_less_on_the_kernel():
    inputs, truth = ground()
    inputs[60] = degrade(truth, blurred_square_taps(0.3, 0.0, 6, 12).expand(2, -1), 6)
    fits = [Fit(6, 1e-3, softened=softened) for softened in (False, True)]
    _, predicted, _ = local_regressions(inputs, everywhere(), fits)
    errors = (predicted - truth[:, None]).square().mean(dim=(0, 2, 3, 4))
    assert float(errors[1]) < float(errors[0])


def test_it_is_ridge_regression_by_the_textbook():
    inputs, _ = ground(seed=1)
    random = torch.Generator().manual_seed(2)
    inputs[60] = inputs[60] + 0.02 * torch.rand(inputs[60].shape, generator=random)
    ridge, row, col, radius = 0.05, 7, 6, 3
    measured = torch.rand(2, 1, EDGE, EDGE, generator=random) + 0.01
    _, predicted, _ = local_regressions(inputs, measured, [Fit(radius, ridge)])
    at = (slice(row - radius, row + radius + 1), slice(col - radius, col + radius + 1))
    guide = torch.cat([inputs[10], bicubic(inputs[20], 2)], dim=1)[0].double()
    x = torch.nn.functional.avg_pool2d(guide, 6)[:, *at].flatten(1).T
    y = inputs[60][0, :, *at].double().flatten(1).T
    weight = measured[0, 0, *at].double().flatten()[:, None]
    weight = weight / weight.sum()
    mx, my = (x * weight).sum(0), (y * weight).sum(0)
    covariance = (x - mx).T @ ((x - mx) * weight)
    penalty = (ridge * covariance.diagonal().mean() + 1e-8) * torch.eye(10, dtype=torch.float64)
    slopes = torch.linalg.inv(covariance + penalty) @ ((x - mx).T @ ((y - my) * weight))
    # In the middle of a coarse pixel its neighbours' coefficients have a say: on a grid of 6, the
    # four pixels around the middle are 1/12 of a coarse pixel off. So all four corners are asked.
    middle = [slice(6 * row + 2, 6 * row + 4), slice(6 * col + 2, 6 * col + 4)]
    expected = my[:, None] + slopes.T @ (guide[:, *middle].flatten(1) - mx[:, None])
    found = predicted[0, 0, :, *middle].double().flatten(1)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.01)


def test_unmeasured_examples_have_almost_no_effect():
    inputs, _ = ground()
    measured = everywhere()
    measured[..., 4:6, 5] = False
    _, before, _ = local_regressions(inputs, measured, [Fit(6, 1e-3)])
    inputs[60][..., 4:6, 5] = 0.5
    _, after, _ = local_regressions(inputs, measured, [Fit(6, 1e-3)])
    _, spoilt, _ = local_regressions(inputs, everywhere(), [Fit(6, 1e-3)])
    assert float((spoilt - before).abs().max()) > 50 * float((after - before).abs().max())


@pytest.mark.parametrize("softened", [False, True])
def test_flat_ground_does_not_divide_by_zero(softened):
    flat = {10: torch.full((1, 4, 36, 36), 0.2), 20: torch.full((1, 6, 18, 18), 0.2)}
    flat[60] = torch.full((1, 2, 6, 6), 0.1)
    for measured in (torch.ones(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)):
        _, predicted, missed = local_regressions(flat, measured, [Fit(3, 1e-3, 0.3, softened)])
        torch.testing.assert_close(predicted, torch.full_like(predicted, 0.1))
        assert float(missed.abs().max()) < 1e-6


def test_brighter_ground_has_brighter_details():
    inputs, _ = ground(seed=3)
    bright = {gsd: 2 * image for gsd, image in inputs.items()}
    _, plain, _ = local_regressions(inputs, everywhere(), [Fit(3, 1e-2)])
    _, doubled, _ = local_regressions(bright, everywhere(), [Fit(3, 1e-2)])
    torch.testing.assert_close(doubled, 2 * plain, rtol=0, atol=ATOL)


def test_invalid_settings_are_errors():
    with pytest.raises(ValueError, match="must not be negative"):
        Fit(-1, 1e-3)
    with pytest.raises(ValueError, match=r"gain 1\.5 must be between 0 and 1"):
        Fit(1, 1e-3, 1.5)


@pytest.mark.parametrize("name", ["regression_2x", "regression_6x"])
def test_the_untrained_model_reproduces_the_coarse_bands(name):
    model = load_model(name)
    counts = {gsd: len(names) for gsd, names in model.card.bands_in.items()}
    inputs = images(2 * model.card.margin, counts)
    found = model.network(inputs)
    start = bicubic(inputs[model.card.coarsest], model.card.scale)
    assert found.shape == start.shape
    assert not torch.allclose(found, start)
    assert model.card.parameters == 0


def test_the_margin_is_no_less_than_the_receptive_field():
    network = Regression(BANDS_IN, radius=2, ridge=1e-2)
    size = 2 * network.margin + 5
    assert network.margin - 2 <= reach_of(network, BANDS_IN, size, size // 2) <= network.margin


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 8])
def test_box_sums_are_those_of_all_pixels_in_the_square(radius):
    image = torch.rand(2, 3, 11, 14, dtype=torch.float64)
    edge = 2 * radius + 1
    ones = torch.ones(3, 1, edge, edge, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(image, ones, padding=radius, groups=3)
    torch.testing.assert_close(box_sum(image, radius), expected)
