"""Real pixels, blurred by known kernels and with noise: the gain that was put in comes out."""

import numpy as np
import pytest
import torch

import decametre
from decametre.sentinel2.bands import ALL_BANDS, bands_at
from decametre.superres.degradation.kernels import degrade
from decametre.superres.degradation.measured_mtf import (
    MeasuredMtf,
    gain_of,
    gaussian_taps,
    measure_bands,
    variance_of,
)
from decametre.superres.pixels.scenes import Scene, load_scene

NOISE = 7e-4
"""Standard deviation in reflectance: 7 DN, as Sentinel-2 has over dark ground."""


def blurred(scene, gsd, gains, scale, noise=NOISE):
    """Bands made `scale` times coarser, so that together with the blur that they have, which is
    taken to be nominal, they have these gains at their new Nyquist frequency."""
    image = scene.reflectance[gsd]
    cell = 60 // gsd * scale
    rows, cols = (side // cell * cell for side in image.shape[1:])
    taps = torch.stack(
        [
            gaussian_taps(variance_of(gain) * scale**2 - variance_of(ALL_BANDS[name].mtf), scale)
            for gain, name in zip(gains, bands_at(gsd), strict=True)
        ]
    )
    found = degrade(image[None, :, :rows, :cols], taps, scale)[0]
    random = torch.Generator().manual_seed(gsd)
    return found + noise * torch.randn(found.shape, generator=random)


@pytest.fixture(scope="module")
def native(sample):
    return load_scene(sample, [*bands_at(10), *bands_at(20)])


def known(native, gains, **options):
    """A scene whose "20 m" bands have these gains and whose "10 m" bands have the nominal ones."""
    fine = blurred(native, 10, [ALL_BANDS[name].mtf for name in bands_at(10)], 3, **options)
    coarse = blurred(native, 20, gains, 3, **options)
    images = {10: fine, 20: coarse}
    return Scene("known", images, {gsd: torch.ones_like(x).bool() for gsd, x in images.items()})


@pytest.mark.parametrize("gain", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
def test_a_known_gain_is_measured(native, gain):
    measured = measure_bands([known(native, [gain] * 6)], bands_at(20))
    found = {m.band: m for m in measured}
    for name in ("B05", "B06", "B07", "B8A"):
        assert found[name].gain == pytest.approx(gain, abs=0.03 if gain < 0.6 else 0.04), name
    for name in bands_at(20):
        assert found[name].low <= gain <= found[name].high, name
        assert found[name].nominal == ALL_BANDS[name].mtf


def test_every_band_has_its_own_gain(native):
    gains = [0.5, 0.2, 0.4, 0.15, 0.3, 0.25]
    measured = measure_bands([known(native, gains)], bands_at(20))
    for gain, m in zip(gains[:4], measured[:4], strict=True):
        assert m.gain == pytest.approx(gain, abs=0.03)


def test_noise_does_not_bias_the_gain(native):
    found = [
        measure_bands([known(native, [0.3] * 6, noise=noise)], bands_at(20))[3].gain
        for noise in (0.0, 2 * NOISE)
    ]
    assert found[0] == pytest.approx(found[1], abs=0.03)


def test_gaps_do_not_bias_the_gain(native):
    whole = known(native, [0.3] * 6)
    torn = Scene("torn", {g: x.clone() for g, x in whole.reflectance.items()}, whole.valid)
    torn.valid[10][1, 80:83, 40:60] = False
    torn.reflectance[10][1, 80:83, 40:60] = 0.9
    torn.valid[20][3, 20:22] = False
    torn.reflectance[20][3, 20:22] = 0.0
    for name, before, after in zip(
        bands_at(20), *(measure_bands([s], bands_at(20)) for s in (whole, torn)), strict=True
    ):
        assert after.gain == pytest.approx(before.gain, abs=0.03), name


@pytest.mark.parametrize(("edge", "cells"), [(16, 1), (3, 0)])
def test_too_little_ground_gives_no_result(edge, cells):
    images = {10: torch.rand(4, 2 * edge, 2 * edge), 20: torch.rand(6, edge, edge)}
    tiny = Scene("tiny", images, {gsd: torch.ones_like(x).bool() for gsd, x in images.items()})
    assert measure_bands([tiny], bands_at(20))[0] == MeasuredMtf(
        "B05", 0.365, None, None, None, cells
    )


def test_taps_have_the_stated_blur():
    for variance in (0.0, 0.15, 0.6, 1.4):
        taps = gaussian_taps(variance, 2).numpy()
        offsets = np.arange(len(taps)) - (len(taps) - 1) / 2
        for frequency in (0.1, 0.2, 0.3):
            gain = float((taps * np.cos(2 * np.pi * frequency * offsets)).sum())
            expected = np.exp(-2 * np.pi**2 * variance * frequency**2)
            assert gain == pytest.approx(expected, abs=0.05)
    assert gain_of(variance_of(0.37)) == pytest.approx(0.37)


def test_the_sample_is_measured_band_by_band(sample):
    measured = decametre.measure_mtf(sample)
    assert [m.band for m in measured][:2] == ["B01", "B05"]
    for m in measured:
        assert 0 <= m.low < m.gain < m.high <= 1
        assert m.cells >= 8
