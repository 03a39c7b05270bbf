import pytest
import torch

from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.guided import GuidedTrunk
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


def test_it_starts_as_the_mean_of_bicubic_and_regressions():
    inputs = images(9, BANDS_IN, batch=2)
    measured = torch.rand(2, 1, 9, 9)
    start = bicubic(inputs[60], 6)
    fits = [Fit(**settings) for settings in REGRESSIONS]
    predicted, missed = local_regressions(inputs, measured, fits)
    proposals = [predicted[:, i] + bicubic(missed[:, i], 6) for i in range(2)]
    expected = (start + proposals[0] + proposals[1]) / 3
    torch.testing.assert_close(network()(inputs, measured), expected, atol=1e-5, rtol=1e-4)


def test_it_works_at_2x():
    inputs = images(9, {10: 4, 20: 6})
    found = GuidedTrunk({10: 4, 20: 6}, width=8, blocks=1, regressions=REGRESSIONS)(inputs)
    assert found.shape == (1, 6, 18, 18)


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
