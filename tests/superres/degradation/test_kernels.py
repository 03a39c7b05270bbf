import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from decametre.errors import UnknownNameError
from decametre.options import KERNELS
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES, bands_at
from decametre.superres.degradation.kernels import (
    GAIN_SPREAD,
    blurred_square_taps,
    crop_mirrored,
    degrade,
    inverse_taps,
    kernel_taps,
    mirrored,
    radius_of,
    random_taps,
    spread,
)

SCALES = [2, 6]


@pytest.mark.parametrize("scale", SCALES)
def test_dsen2_is_a_gaussian_of_1_over_s_then_a_mean(scale):
    """Lanaras et al. 2018, by scipy: an independent implementation."""
    image = np.random.default_rng(0).random((48, 60))
    blurred = ndimage.gaussian_filter(image, 1 / scale, mode="reflect")
    expected = blurred.reshape(48 // scale, scale, 60 // scale, scale).mean(axis=(1, 3))
    taps = kernel_taps("dsen2", ["B05"], scale)
    found = degrade(torch.from_numpy(image)[None, None], taps, scale)[0, 0].numpy()
    # scipy rounds the radius of its Gaussian in its own way: a weight of 4 sigma may differ.
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("kernel", ["dsen2", "mtf"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_constant_is_unchanged(kernel, scale):
    taps = kernel_taps(kernel, BAND_NAMES, scale)
    np.testing.assert_allclose(taps.sum(dim=1), 1)
    image = torch.full((1, 12, 60, 48), 0.3)
    torch.testing.assert_close(
        degrade(image, taps, scale), torch.full((1, 12, 60 // scale, 48 // scale), 0.3)
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("band", BAND_NAMES)
def test_mtf_of_image_and_kernel_together_is_the_band_s_at_the_coarse_nyquist(band, scale):
    taps = kernel_taps("mtf", [band], scale)[0]
    frequency = 1 / (2 * scale)  # cycles per fine pixel
    offsets = torch.arange(len(taps)) - (len(taps) - 1) / 2
    kernel_gain = float((taps * torch.cos(2 * math.pi * frequency * offsets)).sum())
    # The fine image's own blur: gain G at its Nyquist frequency, a Gaussian.
    image_gain = ALL_BANDS[band].mtf ** ((frequency / 0.5) ** 2)
    assert kernel_gain * image_gain == pytest.approx(ALL_BANDS[band].mtf, rel=5e-3)


def test_the_coarse_grid_is_aligned():
    """A ramp's coarse value is its value at the coarse pixel's centre."""
    ramp = torch.arange(72.0).expand(1, 1, 72, 72)
    for kernel in ("dsen2", "mtf"):
        for scale in SCALES:
            found = degrade(ramp, kernel_taps(kernel, ["B01"], scale), scale)[0, 0, 5]
            centres = torch.arange(72 // scale) * scale + (scale - 1) / 2
            torch.testing.assert_close(found[3:-3], centres[3:-3], atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_without_padding_only_exact_pixels_are_returned(scale):
    taps = kernel_taps("mtf", ["B05", "B11"], scale)
    radius = radius_of(taps, scale)
    image = torch.rand(1, 2, 20 * scale, 20 * scale, dtype=torch.float64)
    padded = mirrored(image, [radius] * 4)
    torch.testing.assert_close(degrade(padded, taps, scale, pad=False), degrade(image, taps, scale))


@pytest.mark.parametrize("scale", SCALES)
def test_spread_is_the_transpose(scale):
    taps = kernel_taps("mtf", ["B05", "B12"], scale)
    radius = radius_of(taps, scale)
    fine = torch.rand(1, 2, 8 * scale + 2 * radius, 8 * scale + 2 * radius, dtype=torch.float64)
    coarse = torch.rand(1, 2, 8, 8, dtype=torch.float64)
    left = (degrade(fine, taps, scale, pad=False) * coarse).sum()
    right = (fine * spread(coarse, taps, scale)).sum() / scale**2
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("scale", SCALES)
def test_the_inverse_inverts_degrade_of_spread(scale):
    bands = bands_at(10 * scale)
    taps = kernel_taps("mtf", bands, scale)
    weights = inverse_taps(taps, scale)
    radius = radius_of(taps, scale)
    impulse = torch.zeros(1, len(bands), 41, 41, dtype=torch.float64)
    impulse[..., 20, 20] = 1
    rows = torch.nn.functional.conv2d(
        impulse, weights[:, None, :, None], padding=(4, 0), groups=len(bands)
    )
    filtered = torch.nn.functional.conv2d(
        rows, weights[:, None, None, :], padding=(0, 4), groups=len(bands)
    )
    back = degrade(spread(filtered, taps, scale)[..., radius:-radius, radius:-radius], taps, scale)
    assert float((back - impulse).abs().max()) < 0.05


def test_an_unknown_kernel_is_an_error():
    with pytest.raises(UnknownNameError, match="did you mean mtf"):
        kernel_taps("mft", ["B05"], 2)


def test_mirrored_grids_are_consistent():
    fine = torch.rand(1, 2, 6, 8)
    coarse = torch.nn.functional.avg_pool2d(fine, 2)
    found = torch.nn.functional.avg_pool2d(mirrored(fine, [4, 2, 10, 0]), 2)
    torch.testing.assert_close(found, mirrored(coarse, [2, 1, 5, 0]))
    assert torch.equal(found[..., 5:, 2:-1], coarse)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_degraded_mirrored_image_is_mirrored(kernel):
    fine = torch.rand(1, 2, 36, 48, dtype=torch.float64)
    taps = kernel_taps(kernel, ["B01", "B09"], 6)
    coarse = degrade(mirrored(fine, [30, 30, 30, 30]), taps, 6)
    expected = mirrored(degrade(fine, taps, 6), [5, 5, 5, 5])
    # Outermost pixels see the image mirrored about another edge.
    torch.testing.assert_close(coarse[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])


def gain_at_nyquist(taps, scale):
    """What weights leave of a cosine of the coarse grid's Nyquist frequency."""
    length = taps.shape[-1]
    offsets = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    return (taps * torch.cos(math.pi * offsets / scale)).sum(dim=-1)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("square", [0.0, 0.5, 1.0])
def test_a_blurred_square_has_the_requested_gain(scale, square):
    for gain in (0.1, 0.3, 0.6):
        taps = blurred_square_taps(gain, square, scale, 3 * scale)
        assert float(taps.sum()) == pytest.approx(1)
        # Pixels sample the shape, of which there are few at 2x.
        assert float(gain_at_nyquist(taps, scale)) == pytest.approx(gain, abs=0.2 / scale)


def test_a_square_that_blurs_too_much_is_reduced():
    taps = blurred_square_taps(0.8, 1.0, 6, 12)
    assert float(gain_at_nyquist(taps, 6)) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("scale", SCALES)
def test_random_kernels_fill_the_range_and_bands_are_similar(scale):
    bands_in = {10: bands_at(10), 20: bands_at(20)}
    random = np.random.default_rng(0)
    gains = []
    for _ in range(200):
        drawn = random_taps(bands_in, scale, (0.12, 0.6), random)
        assert {gsd: len(taps) for gsd, taps in drawn.items()} == {10: 4, 20: 6}
        assert len({taps.shape[1] for taps in drawn.values()}) == 1
        gains.append(torch.cat([gain_at_nyquist(taps, scale) for taps in drawn.values()]))
    found = torch.stack(gains)
    assert float(found.min()) == pytest.approx(0.12, abs=0.2 / scale)
    assert float(found.max()) == pytest.approx(0.6, abs=0.2 / scale)
    assert 0.3 < float(found.mean()) < 0.42
    spread_of_bands = found.amax(dim=1) - found.amin(dim=1)
    assert float(spread_of_bands.mean()) > 0.05
    assert float(spread_of_bands.max()) < 2 * GAIN_SPREAD + 0.2 / scale


def test_random_kernels_are_reproducible():
    bands_in = {10: bands_at(10), 20: bands_at(20)}
    first, second = (
        random_taps(bands_in, 2, (0.1, 0.6), np.random.default_rng(4)) for _ in range(2)
    )
    assert all(torch.equal(first[gsd], second[gsd]) for gsd in bands_in)


def test_a_window_beyond_an_edge_is_mirrored():
    image = torch.rand(2, 9, 7)
    padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (12, 20), (30, 5)), mode="symmetric"))
    assert torch.equal(crop_mirrored(image, -12, -30, 41, 42), padded)
    assert torch.equal(crop_mirrored(image, 2, 3, 5, 4), image[:, 2:7, 3:7])
