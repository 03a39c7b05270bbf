"""The same pixels from a file, a Dataset, a DataTree and arrays."""

import json

import dask
import numpy as np
import pytest
import rasterio
import xarray

import decametre
import decametre.xarray
from decametre.errors import MissingExtraError, OptionError, RadiometryError
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from tests.xarray.conftest import grouped

WINDOW = (240, 180, 60, 60)
HOW = {"window": WINDOW, "precision": "float32", "device": "cpu"}
BICUBIC = HOW | {"model": "bicubic", "self_check": False}


def pixels(path):
    with rasterio.open(path) as file:
        return dict(zip(file.descriptions, file.read(), strict=True))


@pytest.fixture(scope="module")
def by_file(sample, tmp_path_factory):
    return decametre.sharpen(sample, tmp_path_factory.mktemp("file") / "a.tif", **HOW)


@pytest.fixture(scope="module")
def sharpened(tree):
    return tree.decametre.sharpen(**HOW)


def assert_equal(expected, found):
    assert list(found) == list(expected) == list(BAND_NAMES)
    for name, image in expected.items():
        assert np.asarray(found[name]).dtype == image.dtype
        np.testing.assert_array_equal(np.asarray(found[name]), image, err_msg=name)


def test_a_tree_has_the_pixels_and_the_card_of_the_file(by_file, sharpened):
    assert_equal(pixels(by_file.path), sharpened.data_vars)
    card = json.loads(sharpened.attrs["decametre:quality"])
    assert card["bands"] == by_file.quality["bands"]
    assert card["self_check"] == by_file.quality["self_check"]


def test_the_result_states_crs_nodata_scale_and_coordinates(sample, sharpened):
    assert sharpened.rio.crs == rasterio.CRS.from_string(sample.grid.crs)
    grid = sample.grid.crop(decametre.Window(*WINDOW))
    assert tuple(sharpened.rio.transform(recalc=True))[:6] == grid.transform()
    assert sharpened.x[0] == grid.left + 5
    for image in sharpened.data_vars.values():
        assert image.rio.nodata == 0
        assert (image.attrs["scale_factor"], image.attrs["add_offset"]) == (1e-4, 0)


def test_a_result_survives_a_file_and_is_decoded_by_its_attributes(sharpened, tmp_path):
    sharpened[["B05"]].rio.to_raster(tmp_path / "b05.tif")
    with rasterio.open(tmp_path / "b05.tif") as file:
        np.testing.assert_array_equal(file.read(1), sharpened.B05)
        assert file.crs == sharpened.rio.crs
    decoded = xarray.decode_cf(sharpened)
    np.testing.assert_allclose(decoded.B05, sharpened.B05 * 1e-4, rtol=1e-6)


def test_a_lazy_tree_has_the_pixels_of_the_file(images, by_file):
    """Chunks that fit neither blocks nor cores."""
    tree = xarray.DataTree.from_dict(grouped(images, chunks={"y": 130, "x": 170}))
    result = decametre.sharpen(tree, **HOW)
    assert all(image.chunks for image in result.data_vars.values())
    assert_equal(pixels(by_file.path), result.compute().data_vars)


def test_nothing_is_read_before_a_lazy_result_is_used(images):
    def fail(block):
        raise AssertionError("was read")

    groups = {
        key: group.map(lambda image: image.copy(data=image.data.map_blocks(fail, dtype="u2")))
        for key, group in grouped(images, chunks={"y": 100}).items()
    }
    result = decametre.sharpen(xarray.DataTree.from_dict(groups), window=WINDOW)
    card = json.loads(result.attrs["decametre:quality"])
    assert card["bands"]["B05"]["model"] == "native_2x"
    assert "consistency" not in card["bands"]["B05"]
    with pytest.raises(AssertionError, match="was read"):
        result.B05.compute()


def test_a_lazy_core_reads_only_the_chunks_around_it(images):
    read = []

    def note(block, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return block

    groups = grouped(images, chunks={"y": 60})
    noted = {
        key: group.map(lambda image: image.copy(data=image.data.map_blocks(note, dtype="u2")))
        for key, group in groups.items()
    }
    read.clear()
    result = decametre.sharpen(xarray.DataTree.from_dict(noted), **BICUBIC | {"bands": ["B05"]})
    with dask.config.set(scheduler="synchronous"):
        result.compute()
    assert 0 < len(set(read)) < 10
    assert max(read) < 9  # the last of ten chunks of 60 rows is far away


def test_resolutions_may_have_their_own_dimensions(flat, by_file):
    assert_equal(pixels(by_file.path), decametre.sharpen(flat, **HOW).data_vars)


def test_arrays_have_the_pixels_and_the_card_of_the_file(images, by_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    calls = []
    result = decametre.sharpen_arrays(
        {name: image.values for name, image in images.items()},
        offset="none",
        progress=lambda *numbers: calls.append(numbers),
        **HOW,
    )
    assert_equal(pixels(by_file.path), result.bands)
    assert result.quality["bands"] == by_file.quality["bands"]
    assert calls == [(0, 1, 0), (1, 1, 3600)]
    assert list(tmp_path.iterdir()) == []


def test_reflectance_gives_what_the_file_gives_as_reflectance(sample, reflectance, tmp_path):
    output = tmp_path / "r.tif"
    expected = decametre.sharpen(sample, output, encoding="reflectance", **BICUBIC)
    tree = xarray.DataTree.from_dict(grouped(reflectance))
    assert_equal(pixels(expected.path), decametre.sharpen(tree, **BICUBIC).data_vars)
    arrays = {name: image.values for name, image in reflectance.items()}
    assert_equal(pixels(expected.path), decametre.sharpen_arrays(arrays, **BICUBIC).bands)


def test_gaps_of_reflectance_stay_gaps(reflectance):
    arrays = {name: image.values.copy() for name, image in reflectance.items()}
    arrays["B05"][100, 130] = np.nan
    arrays["B02"][190, 250] = np.inf
    bands = decametre.sharpen_arrays(arrays, **BICUBIC).bands
    assert np.argwhere(np.isnan(bands["B05"])).tolist() == [[20, 20], [20, 21], [21, 20], [21, 21]]
    assert np.argwhere(np.isnan(bands["B02"])).tolist() == [[10, 10]]
    assert not np.isnan(bands["B08"]).any()


def test_dn_can_be_returned_as_reflectance(images):
    arrays = {name: image.values for name, image in images.items()}
    how = BICUBIC | {"offset": -1000, "encoding": "reflectance"}
    bands = decametre.sharpen_arrays(arrays, **how).bands
    rows, cols = decametre.Window(*WINDOW).slices
    expected = arrays["B02"][rows, cols].astype(np.float32) * np.float32(1e-4) - np.float32(0.1)
    np.testing.assert_array_equal(bands["B02"], expected)


def test_a_date_is_kept_and_bands_can_be_chosen(images):
    groups = {
        key: group.expand_dims(time=[np.datetime64("2017-05-27T10:20:30", "ns")])
        for key, group in grouped(images).items()
    }
    tree = xarray.DataTree.from_dict(groups)
    result = decametre.sharpen(tree, bands=["B12", "B02"], **BICUBIC)
    assert set(result.data_vars) == {"B12", "B02"}
    assert str(result.time.values) == "2017-05-27T10:20:30.000000000"


def test_options_of_files_are_refused(tree, tmp_path):
    with pytest.raises(OptionError, match="output: must be None for a dataset"):
        decametre.sharpen(tree, tmp_path / "a.tif")
    with pytest.raises(OptionError, match="quicklook: cannot be used for a dataset"):
        decametre.sharpen(tree, quicklook=True)
    with pytest.raises(OptionError, match="output: is required"):
        decametre.sharpen("product.SAFE")


def test_a_lazy_value_that_is_no_reflectance_is_an_error_when_it_is_read(reflectance):
    wrong = {name: image * 1e4 for name, image in reflectance.items()}
    tree = xarray.DataTree.from_dict(grouped(wrong, chunks={"y": 600}))
    result = decametre.sharpen(tree, **BICUBIC)
    with pytest.raises(RadiometryError, match=r"band B0.: the value .* cannot be reflectance"):
        result.compute()


def test_a_missing_extra_is_named(tree, monkeypatch):
    from decametre import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "rioxarray" else object())
    with pytest.raises(MissingExtraError, match=r"needs rioxarray: pip install 'decametre\[xarray"):
        decametre.sharpen(tree)


def test_every_band_is_described(sharpened):
    for name, image in sharpened.data_vars.items():
        assert image.attrs["center_wavelength"] == ALL_BANDS[name].wavelength
