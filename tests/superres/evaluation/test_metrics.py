import math

import pytest
import torch
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    spectral_angle_mapper,
    structural_similarity_index_measure,
    universal_image_quality_index,
)

from decametre.superres.evaluation import metrics
from decametre.superres.evaluation.metrics import METRICS, ergas, sam, score_image, sre, windowed

BANDS = ("B05", "B06")


def whole(image):
    return torch.ones(image.shape, dtype=torch.bool)


@pytest.fixture
def pair(sample):
    """Two real bands, and the same with plausible errors."""
    from decametre.superres.pixels.scenes import load_scene

    target = load_scene(sample, BANDS).reflectance[20]
    noise = torch.randn(target.shape, generator=torch.manual_seed(0))
    return (target + 0.01 * noise)[:, :120, :150], target[:, :120, :150]


def test_scores_by_hand():
    target = torch.tensor([[[0.1, 0.3]], [[0.2, 0.2]]])
    image = torch.tensor([[[0.13, 0.34]], [[0.2, 0.1]]])
    found = score_image(image, target, whole(target), BANDS, scale=2)
    errors = {"B05": math.sqrt((300**2 + 400**2) / 2), "B06": math.sqrt(1000**2 / 2)}
    for band, error in errors.items():
        assert found["RMSE"][band] == pytest.approx(error, rel=1e-5)
        assert found["SRE"][band] == pytest.approx(10 * math.log10(2000**2 / error**2), rel=1e-5)
        assert found["PSNR"][band] == pytest.approx(10 * math.log10(1e4**2 / error**2), rel=1e-5)
    relative = [(error / 2000) ** 2 for error in errors.values()]
    by_hand = 100 * (20 / 40) * math.sqrt(sum(relative) / 2)
    assert found["ERGAS"]["all"] == pytest.approx(by_hand, rel=1e-5)
    angles = [
        math.atan2(0.2, 0.1) - math.atan2(0.2, 0.13),
        math.atan2(0.2, 0.3) - math.atan2(0.1, 0.34),
    ]
    by_hand = math.degrees((abs(angles[0]) + abs(angles[1])) / 2)
    assert found["SAM"]["all"] == pytest.approx(by_hand, rel=1e-5)


def test_ssim_and_uiq_by_hand():
    # Without contrast in either image, SSIM is its luminance term with C1 = (0.01 * 1)^2.
    flat = torch.full((11, 11), 0.2)
    ssim, _ = windowed(2 * flat, flat, whole(flat))
    assert ssim == pytest.approx((2 * 0.4 * 0.2 + 1e-4) / (0.4**2 + 0.2**2 + 1e-4), rel=1e-5)
    # An image twice as bright has twice the contrast: luminance and contrast are 4/5 each.
    target = torch.rand(11, 11, generator=torch.manual_seed(0))
    _, uiq = windowed(2 * target, target, whole(target))
    assert uiq == pytest.approx((4 / 5) ** 2, rel=1e-6)
    # Contrast in one image only has nothing in common; in neither, it is 0 / 0.
    assert windowed(target, flat, whole(flat))[1] == pytest.approx(0, abs=1e-9)
    assert math.isnan(windowed(2 * flat, flat, whole(flat))[1])


def test_as_torchmetrics_without_a_mask(pair):
    image, target = pair
    found = score_image(image, target, whole(target), BANDS, scale=6)
    one, other = image.double()[None], target.double()[None]
    # Its `ratio` is l / h: Wald's h / l would be 36 times off at 6x.
    theirs = error_relative_global_dimensionless_synthesis(one, other, ratio=6)
    assert found["ERGAS"]["all"] == pytest.approx(float(theirs), rel=1e-6)
    # Theirs is in radians.
    theirs = spectral_angle_mapper(one, other)
    assert found["SAM"]["all"] == pytest.approx(math.degrees(float(theirs)), rel=1e-6)
    for at, band in enumerate(BANDS):
        a, b = one[:, at : at + 1], other[:, at : at + 1]
        theirs = universal_image_quality_index(a, b)
        assert found["UIQ"][band] == pytest.approx(float(theirs), rel=1e-6)
        theirs = structural_similarity_index_measure(a, b, data_range=1.0)
        assert found["SSIM"][band] == pytest.approx(float(theirs), rel=1e-3)  # theirs reflects


def test_masked_pixels_change_nothing(pair):
    image, target = pair
    mask = whole(target)
    mask[0, 60:90, 50:70] = False
    mask[1, :, 7] = False
    spoilt = torch.where(mask, image, torch.tensor(9.0))
    assert score_image(spoilt, target, mask, BANDS, 2) == score_image(image, target, mask, BANDS, 2)


def test_only_complete_windows_and_spectra_are_scored():
    target = torch.rand(2, 12, 11, generator=torch.manual_seed(0))
    mask = whole(target)
    mask[0, 11, 3] = False
    upper = windowed(target[1, :11] * 1.5, target[1, :11], mask[1, :11])
    assert windowed(target[1] * 1.5, target[1], mask[0]) == pytest.approx(upper)
    # The spectrum that is spoilt is incomplete.
    image = target.clone()
    image[1, 11, 3] = 1
    assert sam(image, target, mask) == pytest.approx(0, abs=1e-5)
    assert sam(image, target, whole(target)) > 0.1


def test_scores_do_not_depend_on_strips(pair, monkeypatch):
    image, target = pair
    mask = whole(target)
    mask[0, 60:90, 50:70] = False
    once = score_image(image, target, mask, BANDS, 2)
    monkeypatch.setattr(metrics, "STRIP", 37)
    strips = score_image(image, target, mask, BANDS, 2)
    for metric in METRICS:
        assert strips[metric.name] == pytest.approx(once[metric.name], rel=1e-12)


def test_a_perfect_image(pair):
    _, target = pair
    found = score_image(target, target, whole(target), BANDS, scale=2)
    for metric in METRICS:
        for value in found[metric.name].values():
            assert value == pytest.approx(metric.best, abs=1e-5)


def test_scores_without_pixels_are_nan():
    target = torch.rand(2, 9, 9)
    nothing = score_image(target, target, ~whole(target), BANDS, 2)
    assert all(math.isnan(v) for values in nothing.values() for v in values.values())
    small = score_image(target, target, whole(target), BANDS, 2)
    assert math.isnan(small["SSIM"]["B05"])
    assert small["RMSE"]["B05"] == 0
    assert math.isnan(sam(target[:1], target[:1], whole(target[:1])))
    assert math.isnan(sre(0.1, 0.0))
    assert math.isnan(ergas([], 2))
