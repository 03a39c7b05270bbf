import pytest
import torch
from torch.nn.functional import pixel_shuffle

from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.native import NativeTrunk
from decametre.superres.models.registry import load_model
from decametre.superres.models.regression import local_regressions as folded_regressions

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


def local_regressions(inputs, measured, settings):
    """With the details on the 10 m grid: (batch, regressions, bands, rows, columns)."""
    details, misses = folded_regressions(inputs, measured, settings)
    unfolded = [pixel_shuffle(part.flatten(1, 2), 6) for part in details.unbind(1)]
    return torch.stack(unfolded, dim=1), misses


def everywhere(edge=EDGE):
    return torch.ones(2, 1, edge, edge, dtype=torch.bool)


def test_a_linear_mixture_is_found_exactly():
    inputs, truth = ground()
    details, misses = local_regressions(inputs, everywhere(), [(6, 0.0)])
    assert details.shape == (2, 1, 2, 6 * EDGE, 6 * EDGE)
    assert misses.shape == (2, 1, 2, EDGE, EDGE)
    # All that the finer bands can tell: the mixture's details over the bicubic of its means.
    expected = truth - bicubic(inputs[60], 6)
    torch.testing.assert_close(details[:, 0], expected, rtol=0, atol=ATOL)
    assert float(misses.abs().max()) < 1e-5


def test_it_is_ridge_regression_by_the_textbook():
    inputs, _ = ground(seed=1)
    random = torch.Generator().manual_seed(2)
    inputs[60] = inputs[60] + 0.02 * torch.rand(inputs[60].shape, generator=random)
    ridge, row, col, radius = 0.05, 7, 6, 3
    _, misses = local_regressions(inputs, everywhere(), [(radius, ridge)])
    at = (slice(row - radius, row + radius + 1), slice(col - radius, col + radius + 1))
    guide = torch.cat([inputs[10], bicubic(inputs[20], 2)], dim=1)
    guide = torch.nn.functional.avg_pool2d(guide, 6)[0].double()
    x = guide[:, *at].flatten(1).T
    y = inputs[60][0, :, *at].double().flatten(1).T
    dx, dy = x - x.mean(0), y - y.mean(0)
    covariance = dx.T @ dx / len(x)
    penalty = (ridge * covariance.diagonal().mean() + 1e-8) * torch.eye(10, dtype=torch.float64)
    slopes = torch.linalg.inv(covariance + penalty) @ (dx.T @ dy / len(x))
    predicted = y.mean(0) + (guide[:, row, col] - x.mean(0)) @ slopes
    expected = inputs[60][0, :, row, col].double() - predicted
    torch.testing.assert_close(misses[0, 0, :, row, col].double(), expected, rtol=1e-4, atol=1e-7)


def test_blocks_share_a_regression():
    """On blocks of 2 the window is that of radius 3.5, the same for all four pixels."""
    inputs, _ = ground(seed=1)
    random = torch.Generator().manual_seed(2)
    inputs[60] = inputs[60] + 0.02 * torch.rand(inputs[60].shape, generator=random)
    measured = torch.rand(2, 1, EDGE, EDGE, generator=random)
    _, misses = folded_regressions(inputs, measured, [(1, 0.05)], block=2)
    at = (slice(4, 10), slice(6, 12))  # blocks 2 to 4 and 3 to 5
    guide = torch.cat([inputs[10], bicubic(inputs[20], 2)], dim=1)
    guide = torch.nn.functional.avg_pool2d(guide, 6)[0].double()
    x, y = guide[:, *at].flatten(1).T, inputs[60][0, :, *at].double().flatten(1).T
    weight = measured[0, 0, *at].flatten().double()[:, None] / measured[0, 0, *at].double().sum()
    mx, my = (x * weight).sum(0), (y * weight).sum(0)
    covariance = (x - mx).T @ ((x - mx) * weight)
    penalty = (0.05 * covariance.diagonal().mean() + 1e-8) * torch.eye(10, dtype=torch.float64)
    slopes = torch.linalg.inv(covariance + penalty) @ ((x - mx).T @ ((y - my) * weight))
    for row, col in ((6, 8), (7, 9)):
        expected = inputs[60][0, :, row, col].double() - my - (guide[:, row, col] - mx) @ slopes
        found = misses[0, 0, :, row, col].double()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_what_was_not_measured_teaches_nothing():
    inputs, _ = ground()
    measured = everywhere()
    measured[..., 4:6, 5] = False
    before, _ = local_regressions(inputs, measured, [(6, 1e-3)])
    inputs[60][..., 4:6, 5] = 9.0
    after, _ = local_regressions(inputs, measured, [(6, 1e-3)])
    torch.testing.assert_close(after, before)
    spoilt, _ = local_regressions(inputs, everywhere(), [(6, 1e-3)])
    assert float((spoilt - before).abs().max()) > 0.1


def test_without_examples_nothing_is_added():
    inputs, _ = ground()
    details, _ = local_regressions(inputs, ~everywhere(), [(2, 1e-3)])
    assert float(details.abs().max()) == 0


def test_flat_ground_is_no_division_by_zero():
    flat = {10: torch.full((1, 4, 36, 36), 0.2), 20: torch.full((1, 6, 18, 18), 0.2)}
    flat[60] = torch.full((1, 2, 6, 6), 0.1)
    details, misses = local_regressions(flat, torch.ones(1, 1, 6, 6), [(3, 1e-3)])
    assert torch.isfinite(details).all()
    assert float(details.abs().max()) < 1e-6
    assert float(misses.abs().max()) < 1e-6


def test_brighter_ground_has_brighter_details():
    inputs, _ = ground(seed=3)
    bright = {gsd: 2 * image for gsd, image in inputs.items()}
    plain, _ = local_regressions(inputs, everywhere(), [(3, 1e-2)])
    doubled, _ = local_regressions(bright, everywhere(), [(3, 1e-2)])
    torch.testing.assert_close(doubled, 2 * plain, rtol=0, atol=ATOL)


def test_a_network_on_regressions_starts_as_their_mean():
    inputs, _ = ground()
    settings = [(6, 1e-3), (3, 1e-2)]
    network = NativeTrunk(BANDS_IN, width=8, blocks=1, regressions=settings)
    torch.nn.init.zeros_(network.tail.weight)
    details, _ = local_regressions(inputs, everywhere(), settings)
    expected = bicubic(inputs[60], 6) + details.sum(dim=1) / 3
    torch.testing.assert_close(network(inputs, everywhere()), expected)
    torch.testing.assert_close(network(inputs), expected)


def test_the_gradient_reaches_every_weight():
    inputs, truth = ground()
    network = NativeTrunk(BANDS_IN, width=8, blocks=1, regressions=[(4, 1e-3)])
    torch.nn.init.normal_(network.tail.weight, std=0.01)
    torch.nn.init.normal_(network.trunk[0].conv2.weight, std=0.01)
    (network(inputs) - truth).abs().mean().backward()
    for name, weights in network.named_parameters():
        assert float(weights.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("radius", [3, 9])
def test_the_margin_covers_window_and_convolutions(radius):
    network = NativeTrunk(BANDS_IN, width=8, blocks=2, regressions=[(radius, 1e-3)])
    assert network.margin == 2 + 2 * 2 + radius + 2


def test_the_model_without_training_is_bicubic_and_details():
    model = load_model("regression_6x")
    inputs, _ = ground()
    details, _ = local_regressions(inputs, everywhere(), [(8, 1e-3)])
    expected = bicubic(inputs[60], 6) + details[:, 0]
    torch.testing.assert_close(model.network(inputs), expected)
    assert model.card.margin == 8 + 2
    assert model.card.parameters == 0
