import math

import torch

from decametre.superres.degradation.degraded_scene import DegradedPair, degrade_scene
from decametre.superres.evaluation.degraded import SceneScore, mean_ratio, rmse, score
from decametre.superres.models.prediction import predict
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
