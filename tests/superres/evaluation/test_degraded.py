import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from decametre.superres.degradation.degraded_scene import DegradedPair, degrade_scene
from decametre.superres.evaluation.degraded import SceneScore, mean_ratio, predict, rmse, score
from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.native import NativeTrunk
from decametre.superres.models.registry import BANDS_FOR_SCALE, load_model
from decametre.superres.pixels.scenes import load_scene


def test_rmse_by_hand_is_masked_and_in_dn():
    target = torch.zeros(1, 2, 1, 3)
    image = torch.tensor([[[[0.0003, 0.0004, 9.0]], [[0.001, 0.0, 0.0]]]])
    mask = torch.tensor([[[[True, True, False]], [[True, True, True]]]])
    found = rmse(image, DegradedPair({}, target, mask, torch.ones(1, 1, 1, 1)))
    assert math.isclose(found[0], math.sqrt((9 + 16) / 2), rel_tol=1e-5)
    assert math.isclose(found[1], math.sqrt(100 / 3), rel_tol=1e-5)


def test_the_published_ratio_is_of_means_over_bands_and_scenes():
    scores = [SceneScore("a", 1, (1.0, 3.0), (10.0, 10.0)), SceneScore("b", 1, (6.0,), (5.0,))]
    assert mean_ratio(scores) == 10 / 25


def test_bicubic_scores_as_bicubic(sample):
    bands = BANDS_FOR_SCALE[6]
    scene = load_scene(sample, [name for names in bands.values() for name in names])
    model = load_model("bicubic_6x")
    degraded = degrade_scene(scene, "dsen2", bands)
    (found,) = score(model.network, model.card.margin, [degraded])
    assert math.isclose(found.ratio, 1, rel_tol=1e-5)
    assert found.pixels == 2 * 96 * 96


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


def test_a_band_without_scored_pixels_is_ignored():
    scores = [SceneScore("a", 1, (1.0, math.nan), (10.0, math.nan))]
    assert mean_ratio(scores) == 0.1
    assert math.isnan(mean_ratio([]))


def test_flat_ground_stays_flat_at_the_edge():
    flat = {10: torch.full((1, 4, 24, 24), 0.2), 20: torch.full((1, 6, 12, 12), 0.4)}
    model = load_model("bicubic_2x")
    torch.testing.assert_close(
        predict(model.network, flat, model.card.margin), torch.full((1, 6, 24, 24), 0.4)
    )


def test_the_shipped_networks_beat_bicubic_on_an_untrained_scene(sample):
    for name in ("native_2x", "native_6x"):
        model = load_model(name)
        assert sample.id not in model.card.training["products"]
        scene = load_scene(sample, model.card.bands)
        degraded = degrade_scene(scene, "dsen2", model.card.bands_in)
        (found,) = score(model.network, model.card.margin, [degraded])
        assert found.ratio < 0.5
