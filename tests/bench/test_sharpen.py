"""The benchmark runs, and its values are consistent. Speed is not tested."""

import json

import numpy as np
import pytest

from decametre.bench import sharpen as bench
from decametre.bench.sharpen import SharpenReport
from decametre.bench.synthetic_safe import make_safe
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from decametre.superres.models.registry import BANDS_FOR_SCALE, build, models_for


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


REPORT = SharpenReport(
    size=720,
    threads=1,
    device="cpu",
    precision="float32",
    tile=360,
    whole=30.0,
    peak_memory_gb=1.5,
    decode=4.0,
    encode=6.0,
    compute=18.0,
    whole_over_io=3.0,
    peer_over_compute=9.0,
    peer_over_compute_float32=7.0,
    one_peer_over_compute=4.0,
)


@pytest.mark.slow
def test_every_stage_is_measured(sample, sample_item, tmp_path, monkeypatch):
    with BandReader(sample, BAND_NAMES) as reader:
        small = make_safe(tmp_path, reader.read_all(BAND_NAMES, Window(0, 0, 120, 120)))
    monkeypatch.setattr(bench, "full_size_product", lambda *_: small)
    monkeypatch.setattr(bench, "models_for", lambda bands: models_for(bands, ["bicubic"]))
    monkeypatch.setattr(bench, "PEER_EDGE", 60)
    monkeypatch.setattr(bench, "PAIRS", 1)
    report = bench.run(sample_item, tmp_path, size=120, tile=60)
    assert min(report.whole, report.decode, report.encode, report.compute) > 0
    assert report.whole_over_io == pytest.approx(report.whole / (report.decode + report.encode))
    assert 0.1 < report.peak_memory_gb < 20
    assert json.loads(json.dumps(report.to_dict()))["size"] == 120


def test_the_table_shows_the_values():
    table = REPORT.table()
    assert "| **complete**, as one process | **30 s** |" in table
    assert "| peak resident memory | 1.50 GB |" in table


def test_the_product_is_created_once_by_mirroring(sample, sample_item, cache):
    made = bench.full_size_product(sample_item, cache, 720)
    before = made.stat().st_mtime_ns
    assert bench.full_size_product(sample_item, cache, 720) == made
    assert made.stat().st_mtime_ns == before
    product = open_product(str(made))
    assert product.grid.shape() == (720, 720)
    assert product.bands["B05"].radiometry.offset_dn == -1000
    with BandReader(product, ["B05"]) as large, BandReader(sample, ["B05"]) as small:
        image = large.read("B05", product.grid.window)
        crop = small.read("B05", Window(0, 0, 600, 600))
    np.testing.assert_array_equal(image[:300, :300], crop)
    np.testing.assert_array_equal(image[300:, :300], crop[::-1][:60])


@pytest.mark.parametrize("scale", [2, 6])
def test_the_peer_has_the_published_size(scale):
    model = bench.peer(scale)
    weights = sum(p.numel() for p in build(model.card).parameters())
    assert 1.78e6 < weights < 1.81e6
    assert set(model.card.bands_in) == set(BANDS_FOR_SCALE[scale])
