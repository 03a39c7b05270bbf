import torch

from decametre.superres.degradation.degraded_scene import degrade_scene
from decametre.superres.degradation.kernels import degrade, kernel_taps
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.pixels.scenes import Scene


def scene(scale, rows):
    """Random pixels, all measured; `rows` of the coarsest grid."""
    torch.manual_seed(0)
    bands_in = BANDS_FOR_SCALE[scale]
    coarsest = max(bands_in)
    reflectance = {
        gsd: torch.rand(len(names), rows * coarsest // gsd, rows * coarsest // gsd)
        for gsd, names in bands_in.items()
    }
    valid = {gsd: torch.ones_like(x, dtype=torch.bool) for gsd, x in reflectance.items()}
    return Scene("random", reflectance, valid), bands_in


def test_the_target_is_measured_and_the_inputs_are_degraded():
    native, bands_in = scene(2, 24)
    pair = degrade_scene(native, "dsen2", bands_in).full_pair()
    assert torch.equal(pair.target[0], native.reflectance[20])
    assert pair.mask.all()
    for gsd, names in bands_in.items():
        expected = degrade(native.reflectance[gsd][None], kernel_taps("dsen2", names, 2), 2)
        torch.testing.assert_close(pair.inputs[gsd], expected)


def test_at_6x_the_20_m_bands_are_degraded_to_120_m():
    native, bands_in = scene(6, 36)
    pair = degrade_scene(native, "mtf", bands_in).full_pair()
    assert {gsd: tuple(x.shape[1:]) for gsd, x in pair.inputs.items()} == {
        10: (4, 36, 36),
        20: (6, 18, 18),
        60: (2, 6, 6),
    }
    for gsd, names in bands_in.items():
        expected = degrade(native.reflectance[gsd][None], kernel_taps("mtf", names, 6), 6)
        torch.testing.assert_close(pair.inputs[gsd], expected)


def test_a_pair_is_a_part_of_the_full_pair():
    native, bands_in = scene(6, 36)
    degraded = degrade_scene(native, "dsen2", bands_in)
    whole, part = degraded.full_pair(), degraded.pair(6, 12, 12, 18)
    assert torch.equal(part.target, whole.target[..., 6:18, 12:30])
    assert torch.equal(part.mask, whole.mask[..., 6:18, 12:30])
    for gsd, width in ((10, 1), (20, 2), (60, 6)):
        at = slice(6 // width, 18 // width), slice(12 // width, 30 // width)
        assert torch.equal(part.inputs[gsd], whole.inputs[gsd][..., *at])
    assert torch.equal(part.measured, whole.measured[..., 1:3, 2:5])


def test_a_gap_masks_pixels_under_the_kernel():
    native, bands_in = scene(2, 24)
    native.valid[20][2, 10, 12] = False
    mask = degrade_scene(native, "dsen2", bands_in).full_pair().mask[0]
    masked = torch.nonzero(~mask[2])
    # Its own degraded pixel, rows 10-11 and columns 12-13, and those above and to the left, which
    # the Gaussian gives more than 1 % of it: the gap is next door to them.
    assert {tuple(p) for p in masked.tolist()} >= {(10, 12), (10, 13), (11, 12), (11, 13)}
    assert (masked[:, 0].min(), masked[:, 0].max()) == (8, 11)
    assert (masked[:, 1].min(), masked[:, 1].max()) == (10, 13)
    assert mask[[0, 1, 3, 4, 5]].all()


def test_a_gap_in_a_guiding_band_masks_all_bands_there():
    native, bands_in = scene(2, 24)
    native.valid[10][1, 20, 30] = False
    mask = degrade_scene(native, "dsen2", bands_in).full_pair().mask[0]
    assert not mask[:, 10, 15].any()
    assert mask[:, 10, 18].all()


def test_a_lower_threshold_keeps_more_pixels():
    native, bands_in = scene(6, 36)
    native.valid[60][:, 15] = False
    strict = degrade_scene(native, "dsen2", bands_in).full_pair().mask
    lenient = degrade_scene(native, "dsen2", bands_in, min_measured=0.8).full_pair().mask
    assert int(strict.sum()) < int(lenient.sum())
    assert not lenient[:, :, 15].any()
