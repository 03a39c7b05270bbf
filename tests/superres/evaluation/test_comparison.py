import dataclasses

import numpy as np
import pytest
import rasterio
import torch

import decametre
import decametre.errors
from decametre.sentinel2.grid import Window
from decametre.superres.degradation.degraded_scene import degrade_scene
from decametre.superres.degradation.kernels import kernel_taps, radius_of
from decametre.superres.evaluation import comparison
from decametre.superres.evaluation.compared_models import Method, methods_for
from decametre.superres.evaluation.comparison import CROP, SceneWindow, compare, degraded_pair
from decametre.superres.models.registry import BANDS_FOR_SCALE, load_model
from decametre.superres.pixels.scenes import FILL_REACH, load_scene

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def part(sample):
    return SceneWindow("here", sample, Window(60, 120, 180, 120))


def without_pixels(product, folder, window):
    """The product with nodata in a window of B02."""
    path = folder / "B02.tif"
    with rasterio.open(product.bands["B02"].path) as source:
        pixels, profile = source.read(1), source.profile
    pixels[window.slices] = 0
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels, 1)
    band = dataclasses.replace(product.bands["B02"], path=str(path))
    return dataclasses.replace(product, bands=dict(product.bands) | {"B02": band})


def test_every_method_is_scored_on_the_same_pixels(sample, tmp_path):
    window = Window(60, 120, 180, 120)
    torn = without_pixels(sample, tmp_path, Window(100, 160, 20, 20))
    # This model does not look at B02, the band with the gap.
    card = load_model("bicubic_2x").card
    blind = dataclasses.replace(card, name="blind", bands_in={10: ("B08",), 20: ("B11", "B05")})
    methods = [
        *methods_for((), 2, CPU),
        Method("blind", load_model("bicubic_2x")._replace(card=blind)),
    ]
    ((scene,), skipped) = compare([SceneWindow("torn", torn, window)], methods, 2, "dsen2")
    assert not skipped
    assert 90 * 60 - scene.pixels["B05"] >= 10 * 10
    assert list(scene.scores["blind"]["RMSE"]) == ["B05", "B11"]
    for band in ("B05", "B11"):
        for metric in ("RMSE", "SSIM", "UIQ"):
            same = scene.scores["bicubic"][metric][band]
            assert scene.scores["blind"][metric][band] == pytest.approx(same, rel=1e-6)


@pytest.mark.parametrize("kernel", ["dsen2", "mtf"])
@pytest.mark.parametrize("scale", [2, 6])
def test_strips_are_degraded_as_the_full_scene(sample, tmp_path, monkeypatch, scale, kernel):
    torn = without_pixels(sample, tmp_path, Window(30, 40, 300, 52))
    window = Window(0, 6, 594, 588)
    monkeypatch.setattr(comparison, "STRIP", 36)
    strips = degraded_pair(SceneWindow("torn", torn, window), scale, kernel)
    bands_in = BANDS_FOR_SCALE[scale]
    scene = load_scene(torn, [name for names in bands_in.values() for name in names], window)
    whole = degrade_scene(scene, kernel, bands_in).full_pair()
    torch.testing.assert_close(strips.target, whole.target, atol=0, rtol=0)
    torch.testing.assert_close(strips.mask, whole.mask)
    assert not whole.mask.all()
    for gsd in bands_in:
        torch.testing.assert_close(strips.inputs[gsd], whole.inputs[gsd], atol=1e-6, rtol=0)


def test_the_reach_covers_kernels_and_filling():
    for scale, bands_in in BANDS_FOR_SCALE.items():
        for gsd, names in bands_in.items():
            taps = kernel_taps("mtf", names, scale)
            assert FILL_REACH + (radius_of(taps, scale) + 2) * gsd // 10 <= comparison.REACH
        assert comparison.STRIP % scale**2 == comparison.REACH % scale**2 == 0


def test_skipped_scenes_have_a_reason(sample, tmp_path):
    empty = without_pixels(sample, tmp_path, sample.grid.window)
    parts = [
        SceneWindow("small", sample, Window(0, 0, 60, 30)),
        SceneWindow("empty", empty, Window(0, 0, 120, 120)),
        SceneWindow("good", sample, Window(0, 0, 120, 120)),
    ]
    found, skipped = compare(parts, methods_for(["bicubic"], 6, CPU), 6, "mtf")
    assert [scene.scene for scene in found] == ["good"]
    assert skipped["small"] == "10 x 5 pixels of 60 m; at least 6 x 6 are needed"
    assert "no pixel was measured" in skipped["empty"]


def test_crops_are_the_middle_of_truth_and_predictions(sample, part):
    crops = []
    (scores,), _ = compare([part], methods_for((), 2, CPU), 2, "dsen2", crops.append)
    (crop,) = crops
    assert crop.truth["B05"].shape == (60, 90)
    # No pixel is missing and the scene is smaller than a crop, so its error is the score.
    error = (crop.predicted["native_2x"]["B8A"] - crop.truth["B8A"]).double()
    assert 1e4 * float(error.square().mean().sqrt()) == pytest.approx(
        scores.scores["native_2x"]["RMSE"]["B8A"], rel=1e-5
    )
    whole = SceneWindow("whole", sample, sample.grid.window)
    compare([whole], methods_for(["bicubic"], 2, CPU), 2, "dsen2", crops.append)
    assert crops[1].truth["B05"].shape == (CROP, CROP)
    first = (300 - CROP) // 2
    with rasterio.open(sample.bands["B05"].path) as source:
        dn = source.read(1)[first : first + CROP, first : first + CROP]
    np.testing.assert_allclose(
        crops[1].truth["B05"].numpy(),
        sample.bands["B05"].radiometry.to_reflectance(dn),
        atol=1e-6,
    )


def test_crops_show_scored_pixels_where_the_middle_has_none():
    mask = torch.zeros(2, 1000, 700, dtype=torch.bool)
    mask[1, 950, 20] = True
    rows, cols = comparison._pictured(mask)
    assert (rows, cols) == (slice(820, 1000), slice(0, 180))
    mask[0, 500, 350] = True
    assert comparison._pictured(mask) == (slice(410, 590), slice(260, 440))


def test_the_api_gives_windows_of_one_product_unique_names(sample_item):
    found = decametre.evaluate([sample_item] * 2, model="bicubic", window=(0, 0, 60, 60))
    assert [scene.scene for scene in found.scenes] == ["dsen2_T33UUB", "dsen2_T33UUB#2"]
    assert found.command == (
        f"decametre evaluate {sample_item} {sample_item} --scale 2 --protocol mtf "
        "--model bicubic --window 0,0,60,60"
    )
    with pytest.raises(decametre.errors.UnknownNameError, match="scale '3'"):
        decametre.evaluate(sample_item, scale=3)
