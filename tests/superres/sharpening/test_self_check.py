import json
import math

import numpy as np
import pytest
import rasterio
import torch

import decametre
from decametre.sentinel2.bands import bands_at
from decametre.sentinel2.grid import Window
from decametre.superres.degradation.degraded_scene import degrade_with_taps
from decametre.superres.degradation.kernels import mtf_taps
from decametre.superres.evaluation.degraded import rmse
from decametre.superres.evaluation.metrics import sam
from decametre.superres.models.prediction import predict, predict_bicubic
from decametre.superres.models.registry import BANDS_FOR_SCALE, load_model
from decametre.superres.pixels.scenes import load_scene
from decametre.superres.sharpening.self_check import (
    BandScore,
    check_product,
    product_gains,
    spectral_angles,
)
from tests.superres.sharpening.test_sharpener import CPU, crop, save_random, sharpen_all

PART = Window(120, 60, 222, 186)
SCORED = Window(120, 60, 216, 180)
"""The part without the pixels that are no complete degraded pixel of 360 m."""


@pytest.fixture(scope="module")
def models():
    return [load_model("native_2x")]


@pytest.fixture(scope="module")
def check(sample, models):
    return check_product(sample, PART, models, CPU, torch.float32)


def test_scores_are_those_of_an_evaluation_of_the_window(sample, models, check):
    assert check.windows == (SCORED,)
    (model,) = models
    names = model.card.bands
    scene = load_scene(sample, names, SCORED)
    taps = {
        gsd: mtf_taps([check.gains[name] for name in group], 2)
        for gsd, group in BANDS_FOR_SCALE[2].items()
    }
    pair = degrade_with_taps(scene, taps).full_pair()
    with torch.inference_mode():
        images = [
            predict(model.network, pair.inputs, model.card.margin, measured=pair.measured),
            predict_bicubic(pair.inputs),
        ]
    expected = [rmse(image, pair) for image in images]
    assert tuple(check.bands) == bands_at(20)
    for index, score in enumerate(check.bands.values()):
        assert score.pixels == 108 * 90
        assert score.rmse * 1e4 == pytest.approx(expected[0][index], rel=1e-5)
        assert score.bicubic_rmse * 1e4 == pytest.approx(expected[1][index], rel=1e-5)
        assert 0.2 < score.ratio < 0.8
    angles = [sam(image[0], pair.target[0], pair.mask[0]) for image in images]
    assert check.angles["native_2x"] == pytest.approx(angles, rel=1e-5)
    assert check.worse_bands == ()


def test_it_is_the_same_in_every_run(sample, models, check):
    assert check_product(sample, PART, models, CPU, torch.float32) == check


def test_gains_are_measured_or_nominal(sample, check):
    measured, nominal = check.measured, {"B02": 0.275, "B03": 0.28, "B04": 0.25, "B08": 0.24}
    assert {"B05", "B8A"} <= measured <= set(bands_at(20))
    assert {name: check.gains[name] for name in bands_at(10)} == pytest.approx(nominal, abs=0.01)
    # Too little ground: 60 x 60 pixels at 10 m have 3 squares in which a gain can be measured.
    names = (*bands_at(10), "B05")
    few = load_scene(sample, names, Window(0, 0, 60, 60))
    gains, measured = product_gains([few], names)
    assert not measured
    assert gains["B05"] == decametre.sentinel2.bands.ALL_BANDS["B05"].mtf


def test_spectral_angles_by_hand():
    image = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    truth = torch.tensor([[0.0, 2.0], [6.0, 8.0], [1.0, 1.0]], dtype=torch.float64)
    found = spectral_angles(image.T[None, :, None], truth.T[None, :, None])
    torch.testing.assert_close(
        found[0, 0], torch.tensor([math.pi / 2, 0, 0]).double(), atol=1e-7, rtol=0
    )


def test_few_pixels_are_no_evidence():
    assert BandScore("m", 1000, 2.0, 1.0).is_worse
    assert not BandScore("m", 999, 2.0, 1.0).is_worse
    assert not BandScore("m", 1000, 1.0, 1.0).is_worse
    assert math.isnan(BandScore("m", 1000, 0.0, 0.0).ratio)


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    """A network that is worse than bicubic interpolation."""
    folder = tmp_path_factory.mktemp("poor")
    return save_random(folder, "native", 2, {"width": 8, "blocks": 0})


def test_bicubic_replaces_a_worse_network(sample, poor, tmp_path, caplog):
    options = {"window": PART, "bands": ("B02", "B05", "B12"), "precision": "float32"}
    found = decametre.sharpen(sample, tmp_path / "found.tif", model=poor, **options)
    warning = next(r.message for r in caplog.records if "bicubic" in r.message)
    assert "\n" not in warning
    assert "B05" in warning
    assert "B12" in warning
    expected = decametre.sharpen(sample, tmp_path / "expected.tif", model="bicubic", **options)
    with rasterio.open(found.path) as one, rasterio.open(expected.path) as other:
        np.testing.assert_array_equal(one.read(), other.read())
    card, baseline = (json.loads(r.quality_path.read_text()) for r in (found, expected))
    assert {"B05", "B12"} <= set(card["self_check"]["bicubic_bands"])
    for name in ("B05", "B12"):
        assert card["bands"][name]["model"] == "bicubic"
        assert card["bands"][name]["self_check"]["ratio_to_bicubic"] > 1
        assert card["bands"][name]["consistency"] == baseline["bands"][name]["consistency"]
        assert card["bands"][name]["outliers"] == 0
        assert baseline["bands"][name]["self_check"]["ratio_to_bicubic"] == 1
    assert card["bands"]["B02"]["model"] is None
    item = json.loads(found.item_path.read_text())
    assert item["properties"]["decametre:quality"] == card
    assert item["properties"]["decametre:settings"]["self_check"] is True


def test_without_the_check_the_network_is_used(sample, poor, tmp_path):
    options = {"window": PART, "bands": ("B05",), "precision": "float32"}
    found = decametre.sharpen(sample, tmp_path / "x.tif", model=poor, self_check=False, **options)
    assert found.quality["self_check"] is None
    assert found.quality["bands"]["B05"]["model"] == "s2x"
    assert "self_check" not in found.quality["bands"]["B05"]
    assert found.quality["bands"]["B05"]["outliers"] > 0


def test_a_small_product_is_not_scored(sample, poor, tmp_path):
    for edge, pixels in ((30, 0), (60, 18 * 18)):
        found = decametre.sharpen(
            sample,
            tmp_path / f"{edge}.tif",
            window=(0, 0, edge, edge),
            bands=("B05",),
            model=poor,
        )
        assert found.quality["bands"]["B05"]["model"] == "s2x"
        assert found.quality["bands"]["B05"]["self_check"] == {
            "not_scored": f"{pixels} pixels can be scored, at least 1000 are needed",
            "pixels": pixels,
        }
        sam_degrees = found.quality["self_check"]["models"]["s2x"]["sam_degrees"]
        assert (sam_degrees is None) == (pixels == 0)


def test_tiled_equals_untiled_with_bicubic_bands(sample, poor, tmp_path):
    product = crop(sample, tmp_path, Window(60, 120, 102, 96))
    one, other = (
        sharpen_all(product, tile, models=[poor], bands=("B05", "B11"), bicubic=("B11",))
        for tile in (10_000, 30)
    )
    network = sharpen_all(product, 10_000, models=[poor], bands=("B05", "B11"))
    np.testing.assert_array_equal(one[0]["B05"], network[0]["B05"])
    assert (one[0]["B11"] != network[0]["B11"]).mean() > 0.5
    for name in ("B05", "B11"):
        np.testing.assert_allclose(one[1][name], other[1][name], atol=3e-6)
