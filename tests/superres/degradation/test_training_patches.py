import dataclasses

import numpy as np
import pytest
import torch

from decametre.superres.degradation.degraded_scene import degrade_scene, stack_pairs
from decametre.superres.degradation.training_patches import Patches, mixture
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.pixels.scenes import Scene


def degraded(rows, cols, missing=0.0, kernel="dsen2"):
    """A smooth ramp at 2x; all bands and grids show the same ground. Edges at 20 m."""
    ramp = torch.arange(2 * rows)[:, None] * 1.0 + 100.0 * torch.arange(2 * cols)
    coarse = (ramp[::2, ::2] + ramp[1::2, 1::2]) / 2
    reflectance = {10: ramp.expand(4, -1, -1), 20: coarse.expand(6, -1, -1)}
    valid = {gsd: torch.ones_like(x, dtype=torch.bool) for gsd, x in reflectance.items()}
    for mask in valid.values():
        mask[:, : round(missing * mask.shape[1])] = False
    return degrade_scene(Scene(f"{rows}x{cols}", reflectance, valid), kernel, BANDS_FOR_SCALE[2])


def batch(scenes, count, gain=0.0, seed=0):
    patches = Patches({"dsen2": scenes}, 10, gain, seed)
    return stack_pairs([patches[index] for index in range(count)])


def test_inputs_and_target_show_the_same_ground():
    pair = batch([degraded(60, 80)], 32)
    assert pair.inputs[10].shape == (32, 4, 20, 20)
    assert pair.inputs[20].shape == (32, 6, 10, 10)
    assert pair.target.shape == pair.mask.shape == (32, 6, 20, 20)
    # On a ramp the degraded 10 m band is the 20 m band, whatever the flip and turn.
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(pair.inputs[10][inner][:, :1], pair.target[inner][:, :1])
    means = torch.nn.functional.avg_pool2d(pair.target, 2)
    torch.testing.assert_close(pair.inputs[20][..., 1:-1, 1:-1], means[..., 1:-1, 1:-1])


def test_gain_brightens_inputs_and_target_alike():
    plain, gained = (batch([degraded(60, 80)], 8, gain, seed=4) for gain in (1e-9, 0.3))
    ratio = gained.target / plain.target.clamp(min=1)
    flat = ratio.flatten(1)[:, 200:210]
    assert ((flat > 0.7) & (flat < 1.4)).all()
    torch.testing.assert_close(
        gained.inputs[10] / gained.target[:, :1], plain.inputs[10] / plain.target[:, :1]
    )


def test_a_patch_depends_on_seed_and_number_alone():
    scenes = {"dsen2": [degraded(40, 50)]}
    patches = [Patches(scenes, 10, 0.3, seed) for seed in (5, 5, 6)]
    patches[0][3], patches[0][8]
    first, second, other = (p[7].target for p in patches)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, patches[0][8].target)


def test_places_and_turns_vary():
    pair = batch([degraded(60, 80)], 64)
    assert len({tuple(patch[0, 0, :2].tolist()) for patch in pair.target}) > 50


def test_torn_scenes_are_drawn_less_often():
    scenes = [degraded(40, 40), degraded(40, 40, missing=0.5)]
    probabilities = Patches({"dsen2": scenes}, 10, 0.0, seed=0).probabilities
    assert probabilities[0] == pytest.approx(16 * probabilities[1])


def test_a_scene_smaller_than_a_patch_is_enlarged_and_masked():
    pair = batch([degraded(12, 40)], 4)
    assert pair.target.shape == (4, 6, 20, 20)
    assert all(int(mask.sum()) == 12 * 20 for mask in pair.mask[:, 0])


def test_kernels_take_turns():
    dark = degraded(40, 50)
    bright = dataclasses.replace(dark, target=dark.target + 1e6)
    patches = Patches({"dsen2": [dark], "mtf": [bright]}, 10, 0.0, seed=0)
    turns = [bool((patches[index].target > 1e5).all()) for index in range(4)]
    assert turns == [False, True, False, True]


def random_scene():
    random = torch.Generator().manual_seed(0)
    reflectance = {
        10: torch.rand(4, 80, 80, generator=random),
        20: torch.rand(6, 40, 40, generator=random),
    }
    valid = {gsd: torch.ones_like(x, dtype=torch.bool) for gsd, x in reflectance.items()}
    valid[20][2, 20:25] = False
    return degrade_scene(Scene("random", reflectance, valid), "dsen2", BANDS_FOR_SCALE[2])


def test_mixed_bands_are_the_same_mixture_in_input_and_target():
    plain, mixed = (
        Patches({"dsen2": [random_scene()]}, 10, 0.3, seed=3, mixing=mixing) for mixing in (0, 1)
    )
    unchanged = 0
    for index in range(40):
        was, now = plain[index], mixed[index]
        pixels = {gsd: image[0].flatten(1) for gsd, image in was.inputs.items()}
        weights = torch.linalg.lstsq(was.target[0].flatten(1).T, now.target[0].flatten(1).T)
        mixture = weights.solution.T
        torch.testing.assert_close(mixture.sum(1), torch.ones(6), atol=1e-4, rtol=0)
        assert float(mixture.min()) > -1e-4
        found = now.inputs[20][0].flatten(1)
        torch.testing.assert_close(found, mixture @ pixels[20], atol=1e-4, rtol=1e-4)
        unchanged += torch.allclose(mixture, torch.eye(6), atol=1e-4)
        # A mixture with a band that was not measured was not measured.
        assert torch.equal(now.mask, was.mask.all(dim=1, keepdim=True).expand_as(was.mask))
    assert 4 <= unchanged <= 18


def test_a_mixture_keeps_of_each_band_what_it_says():
    random = np.random.default_rng(0)
    for _ in range(50):
        weights = mixture(6, 0.3, random)
        assert float(weights.diagonal().min()) >= 0.7 - 1e-6
        torch.testing.assert_close(weights.sum(1), torch.ones(6))
