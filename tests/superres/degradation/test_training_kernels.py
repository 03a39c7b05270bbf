import numpy as np
import pytest
import torch

from decametre.errors import TrainingError
from decametre.superres.degradation import training_kernels as module
from decametre.superres.degradation.training_kernels import (
    MeasuredTrainingKernels,
    TrainingKernels,
)
from decametre.superres.degradation.training_patches import TrainingPatches
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.pixels.scenes import Scene, load_scene

BANDS = BANDS_FOR_SCALE[2]
TYPICAL = [0.28] * 6


@pytest.fixture(scope="module")
def native(sample):
    return load_scene(sample, [name for names in BANDS.values() for name in names])


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 2)


def test_kernels_alternate():
    kernels = TrainingKernels(("dsen2", "drawn"), BANDS, (0.1, 0.65))
    taps = [kernels.choose(index, np.random.default_rng(index)).taps[20] for index in range(4)]
    assert torch.equal(taps[0], taps[2])
    assert not torch.equal(taps[1], taps[3])


def test_measured_kernels_have_gains_and_are_the_same_each_time(native, few):
    first, second = (
        MeasuredTrainingKernels(("mtf", "drawn"), BANDS, (0.1, 0.65), TYPICAL, [native], 3)
        for _ in range(2)
    )
    assert [len(first.measured[name]) for name in ("mtf", "drawn")] == [1, 2]
    for index in range(6):
        ours, theirs = (k.choose(index, np.random.default_rng(index)) for k in (first, second))
        assert torch.equal(ours.gains, theirs.gains)
        assert torch.equal(ours.taps[10], theirs.taps[10])
    near_infrared = first.measured["mtf"][0].gains[3]
    # The nominal gain is 0.32; a part of the blur was in the image before.
    assert 0.25 < float(near_infrared) < 0.4


def test_patches_carry_the_gains_of_their_kernel(native, few):
    kernels = MeasuredTrainingKernels(("mtf",), BANDS, (0.1, 0.65), TYPICAL, [native], 3)
    pair = TrainingPatches([native], kernels, 8, 0.3, 0)[0]
    torch.testing.assert_close(pair.gains, kernels.measured["mtf"][0].gains[None])


def test_scenes_that_cannot_be_measured_are_refused(native, few):
    small = Scene(
        "small",
        {gsd: image[:, : 600 // gsd, : 600 // gsd] for gsd, image in native.reflectance.items()},
        {gsd: mask[:, : 600 // gsd, : 600 // gsd] for gsd, mask in native.valid.items()},
    )
    torn = Scene(
        "torn", native.reflectance, {gsd: torch.zeros_like(m) for gsd, m in native.valid.items()}
    )
    with pytest.raises(TrainingError, match="large enough to measure its blur"):
        MeasuredTrainingKernels(("mtf",), BANDS, (0.1, 0.65), TYPICAL, [small, torn], 3)
