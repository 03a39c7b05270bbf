import numpy as np
import pytest
import torch

from decametre.superres.degradation.degraded_scene import degrade_scene, stack_pairs
from decametre.superres.degradation.training_kernels import TrainingKernels
from decametre.superres.degradation.training_patches import TrainingPatches, mixture
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.pixels.scenes import Scene


def scene(rows, cols, missing=0.0):
    """A smooth ramp at 2x; all bands and grids show the same ground. Edges at 20 m."""
    ramp = torch.arange(2 * rows)[:, None] * 1.0 + 100.0 * torch.arange(2 * cols)
    coarse = (ramp[::2, ::2] + ramp[1::2, 1::2]) / 2
    reflectance = {10: ramp.expand(4, -1, -1), 20: coarse.expand(6, -1, -1)}
    valid = {gsd: torch.ones_like(x, dtype=torch.bool) for gsd, x in reflectance.items()}
    for mask in valid.values():
        mask[:, : round(missing * mask.shape[1])] = False
    return Scene(f"{rows}x{cols}", reflectance, valid)


def random_scene(scale, rows, cols):
    """Random pixels, all measured; edges on the coarsest grid."""
    random = torch.Generator().manual_seed(0)
    bands_in = BANDS_FOR_SCALE[scale]
    reflectance = {
        gsd: torch.rand(
            len(names), rows * max(bands_in) // gsd, cols * max(bands_in) // gsd, generator=random
        )
        for gsd, names in bands_in.items()
    }
    valid = {gsd: torch.ones_like(x, dtype=torch.bool) for gsd, x in reflectance.items()}
    return Scene("random", reflectance, valid)


def patches_of(scenes, size=10, gain=0.0, seed=0, kernels=("dsen2",), scale=2, **options):
    choice = TrainingKernels(kernels, BANDS_FOR_SCALE[scale], (0.1, 0.65))
    return TrainingPatches(scenes, choice, size, gain, seed, **options)


def batch(scenes, count, gain=0.0, seed=0):
    patches = patches_of(scenes, gain=gain, seed=seed)
    return stack_pairs([patches[index] for index in range(count)])


def test_inputs_and_target_show_the_same_ground():
    pair = batch([scene(60, 80)], 32)
    assert pair.inputs[10].shape == (32, 4, 20, 20)
    assert pair.inputs[20].shape == (32, 6, 10, 10)
    assert pair.target.shape == pair.mask.shape == (32, 6, 20, 20)
    # On a ramp the degraded 10 m band is the 20 m band, whatever the flip and turn, if no edge of
    # the scene runs through the patch.
    whole = pair.measured.flatten(1).amin(dim=1) == 1
    assert whole.sum() > 10
    inner = (whole, ..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(pair.inputs[10][inner][:, :1], pair.target[inner][:, :1])
    means = torch.nn.functional.avg_pool2d(pair.target, 2)
    inner = (whole, ..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(pair.inputs[20][inner], means[inner])


def test_gain_brightens_inputs_and_target_equally():
    plain, gained = (batch([scene(60, 80)], 8, gain, seed=4) for gain in (1e-9, 0.3))
    ratio = gained.target / plain.target.clamp(min=1)
    flat = ratio.flatten(1)[:, 200:210]
    assert ((flat > 0.7) & (flat < 1.4)).all()
    torch.testing.assert_close(
        gained.inputs[10] / gained.target[:, :1], plain.inputs[10] / plain.target[:, :1]
    )


def test_a_patch_depends_on_seed_and_number_only():
    kernels = ("drawn", "dsen2")
    patches = [patches_of([scene(40, 50)], 10, 0.3, seed, kernels) for seed in (5, 5, 6)]
    patches[0][3], patches[0][8]
    first, second, other = (p[7].target for p in patches)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, patches[0][8].target)


def test_places_and_turns_vary():
    pair = batch([scene(60, 80)], 64)
    assert len({tuple(patch[0, 0, :2].tolist()) for patch in pair.target}) > 50


def test_scenes_with_gaps_are_chosen_less_often():
    scenes = [scene(40, 40), scene(40, 40, missing=0.5)]
    probabilities = patches_of(scenes).probabilities
    assert probabilities[0] == pytest.approx(16 * probabilities[1])


@pytest.mark.parametrize("scale", [2, 6])
def test_a_patch_is_the_degraded_scene_at_its_place(scale, monkeypatch):
    native, bands_in = random_scene(scale, 8 * scale, 9 * scale), BANDS_FOR_SCALE[scale]
    monkeypatch.setattr(TrainingPatches, "_place", lambda self, side, random: 2 * scale)
    patches = patches_of([native], size=4, scale=scale)
    whole = degrade_scene(native, "dsen2", bands_in)
    expected = whole.pair(2 * scale, 2 * scale, 4 * scale, 4 * scale)
    # Of all turns and flips, the one that leaves a patch as it is.
    drawn = [patches[index] for index in range(60)]
    pair = next(pair for pair in drawn if torch.equal(pair.target, expected.target))
    for gsd in bands_in:
        torch.testing.assert_close(pair.inputs[gsd], expected.inputs[gsd])
    assert torch.equal(pair.mask, expected.mask)
    assert torch.equal(pair.measured, expected.measured)


def test_beyond_its_edge_a_scene_is_mirrored_and_not_measured():
    native = random_scene(6, 18, 40)
    pair = patches_of([native], size=5, scale=6)[0]  # 30 rows where the scene has 18
    assert pair.target.shape == (1, 2, 30, 30)
    assert pair.mask.all()
    assert set(pair.target.unique().tolist()) <= set(native.reflectance[60].unique().tolist())
    assert 5 <= int(pair.measured.sum()) <= 15


def roughness(pair):
    """Of random pixels a stronger blur leaves less, in each band."""
    return pair.inputs[10][0].std(dim=(1, 2)).tolist()


def test_kernels_alternate():
    patches = patches_of([random_scene(2, 60, 80)], kernels=("dsen2", "drawn"))
    fixed, drawn = (
        np.array([roughness(patches[index]) for index in range(first, 16, 2)]) for first in (0, 1)
    )
    assert drawn.std(axis=0).min() > 3 * fixed.std(axis=0).max()


def test_a_gap_masks_affected_pixels():
    native = random_scene(2, 60, 80)
    native.valid[10][2, 60, 80] = False
    pair = patches_of([native], size=28, kernels=("drawn",))[0]
    lost = ~pair.mask[0]
    assert 0 < int(lost[0].sum()) <= 8 * 8
    assert torch.equal(lost[0], lost[5])
    assert float(pair.measured.min()) < 1


def test_mixed_bands_are_the_same_mixture_in_input_and_target():
    native = random_scene(2, 40, 40)
    native.valid[20][2, 20:25] = False
    plain, mixed = (patches_of([native], gain=0.3, seed=3, mixing=mixing) for mixing in (0, 1))
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


def test_a_mixture_keeps_the_stated_share_of_each_band():
    random = np.random.default_rng(0)
    for _ in range(50):
        weights = mixture(6, 0.3, random)
        assert float(weights.diagonal().min()) >= 0.7 - 1e-6
        torch.testing.assert_close(weights.sum(1), torch.ones(6))
