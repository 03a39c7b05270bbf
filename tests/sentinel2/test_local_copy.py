"""Copies of bands: the same bytes, wherever they came from, and the same product otherwise."""

import dataclasses
import resource
from pathlib import Path

import numpy as np
import pytest

from decametre.bench.synthetic_safe import zip_safe
from decametre.errors import CorruptDataError, MissingBandError, OutputError
from decametre.sentinel2.grid import Window
from decametre.sentinel2.local_copy import copy_bands
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from tests.fleet.servers import file_server
from tests.support.synthetic_products import make_products

BANDS = ("B02", "B05", "B01")


@pytest.fixture(scope="module")
def safe(sample, tmp_path_factory):
    return make_products([sample], tmp_path_factory.mktemp("products"), 1, 60)[0]


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def pixels(product):
    with BandReader(product, BANDS) as reader:
        return reader.read_all(BANDS, Window(0, 0, 60, 60))


@pytest.mark.parametrize("packed", [False, True])
def test_copies_have_the_same_bytes_and_all_else_stays(safe, scratch, packed):
    original = open_product(safe)
    product = open_product(zip_safe(safe)) if packed else original
    copy = copy_bands(product, BANDS, scratch)
    assert list(copy.bands) == list(BANDS)
    for name in BANDS:
        assert copy.bands[name].radiometry == product.bands[name].radiometry
        path = Path(copy.bands[name].path)
        assert path.read_bytes() == Path(original.bands[name].path).read_bytes()
    assert {path.name for path in scratch.iterdir()} == {f"{name}.jp2" for name in BANDS}
    assert dataclasses.replace(copy, bands=product.bands) == product


def test_a_url_with_a_signature(safe, sample_item, scratch, tmp_path):
    """Its end says nothing of the format."""
    original = open_product(safe)
    with file_server(safe) as address:

        def remote(file):
            path = Path(file.path).relative_to(safe)
            return dataclasses.replace(file, path=f"/vsicurl/{address}/{path}?sig=a/b.tif&x=1.2")

        there = {name: remote(original.bands[name]) for name in BANDS}
        copy = copy_bands(dataclasses.replace(original, bands=there), BANDS, scratch)
    found = pixels(copy)  # the server is gone
    for name, image in pixels(original).items():
        np.testing.assert_array_equal(found[name], image)


def test_geotiffs(sample, scratch):
    copy = copy_bands(sample, ["B05"], scratch)
    assert [path.name for path in scratch.iterdir()] == ["B05.tif"]
    assert Path(copy.bands["B05"].path).read_bytes() == Path(sample.bands["B05"].path).read_bytes()


def test_what_is_missing_or_gone_is_said(safe, scratch):
    product = open_product(safe)
    lacking = dataclasses.replace(product, bands={"B05": product.bands["B05"]})
    with pytest.raises(MissingBandError, match="band B02 is missing"):
        copy_bands(lacking, ["B02"], scratch)
    gone = dataclasses.replace(product.bands["B05"], path=str(safe / "gone.jp2"))
    with pytest.raises(CorruptDataError, match=r"B05 cannot be copied to .*scratch \(.*gone.jp2"):
        copy_bands(dataclasses.replace(product, bands={"B05": gone}), ["B05"], scratch)
    with pytest.raises(CorruptDataError, match="B05 cannot be copied"):
        copy_bands(product, ["B05"], scratch / "nowhere")


def test_no_room_for_a_copy(safe, scratch):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"B05.jp2: cannot be written; free some space"):
            copy_bands(open_product(safe), ["B05"], scratch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
