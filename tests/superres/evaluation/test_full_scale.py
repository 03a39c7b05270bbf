import math

import numpy as np
import pytest
import torch

from decametre.sentinel2.grid import Window
from decametre.superres.evaluation.compared_models import methods_for
from decametre.superres.evaluation.comparison import SceneWindow
from decametre.superres.evaluation.full_scale import (
    RunningCorrelation,
    averaged,
    details,
    full_scale_scores,
    guides_of,
)


def correlation(x, y):
    moments = RunningCorrelation()
    moments.add(np.array(x, np.float32), np.array(y, np.float32))
    return moments.correlation


def test_correlation_by_hand():
    # Deviations (-1, 0, 1) and (-1, 1, 0): 1 / sqrt(2 * 2).
    assert correlation([1, 2, 3], [0, 2, 1]) == pytest.approx(0.5)
    assert correlation([1, 2, math.nan, 3], [0, 2, 5, 1]) == pytest.approx(0.5)
    assert math.isnan(correlation([1, 2], [3, 3]))
    assert math.isnan(RunningCorrelation().correlation)


def test_correlation_adds_up():
    x, y = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    moments = RunningCorrelation()
    for part in np.split(np.arange(100), 4):
        moments.add(x[part], y[part])
    assert moments.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)


def test_details_by_hand():
    image = np.zeros((4, 5), np.float32)
    image[1, 2] = 1
    assert details(image).tolist() == [[-1, 8, -1], [-1, -1, -1]]
    image[0, 0] = np.nan
    assert np.isnan(details(image)).tolist() == [[True, False, False], [False, False, False]]


def test_averaged_by_hand():
    image = np.array([[1, 3, 5, np.nan], [1, 3, 5, 5]], np.float32)
    np.testing.assert_array_equal(averaged(image, 2), [[2, np.nan]])


def test_guides_are_the_most_similar_bands(sample):
    guides, measured = guides_of(SceneWindow("sample", sample, sample.grid.window), 2)
    # The band of the same wavelength; red or green for what vegetation absorbs.
    assert guides["B8A"] == "B08"
    assert guides["B05"] in ("B03", "B04")
    assert all(0.3 < value < 1 for value in measured.values())


def test_a_network_transfers_sharpness_and_agrees_better_with_the_input(sample):
    part = SceneWindow("sample", sample, Window(120, 180, 240, 180))
    methods = methods_for((), 2, torch.device("cpu"))
    found = full_scale_scores(part, methods, 2, torch.device("cpu"))
    assert list(found.indices) == ["bicubic", "native_2x"]
    bicubic, network = found.indices.values()
    for band in found.guides:
        assert network.residual[band] < bicubic.residual[band] < 0.1
        assert network.detail[band] > bicubic.detail[band]
        assert 0 < network.d_rho[band] < bicubic.d_rho[band] < 1
    assert 0 < network.d_lambda < bicubic.d_lambda < 0.5


def test_a_window_smaller_than_the_kernel_has_no_d_lambda(sample):
    part = SceneWindow("sample", sample, Window(120, 180, 120, 120))
    methods = methods_for(["bicubic"], 6, torch.device("cpu"))
    found = full_scale_scores(part, methods, 6, torch.device("cpu")).indices["bicubic"]
    assert math.isnan(found.d_lambda)
    assert set(found.d_rho) == {"B01", "B09"}


def test_the_residual_is_that_of_the_quality_card(sample, tmp_path):
    import decametre

    window = (120, 180, 240, 180)
    options = {"model": "bicubic", "precision": "float32", "self_check": False}
    card = decametre.sharpen(sample, tmp_path / "x.tif", window=window, **options).quality
    methods = methods_for(["bicubic"], 6, torch.device("cpu"))
    part = SceneWindow("sample", sample, Window(*window))
    found = full_scale_scores(part, methods, 6, torch.device("cpu"))
    for band, value in found.indices["bicubic"].residual.items():
        stated = card["bands"][band]["consistency"]["relative"]
        assert value == pytest.approx(stated, rel=1e-3)
