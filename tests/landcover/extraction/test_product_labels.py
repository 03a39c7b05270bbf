"""Class rasters computed from the pixels of products, and patches labelled with them."""

import json

import numpy as np
import pytest
import rasterio

from decametre import api
from decametre.bench.synthetic_safe import make_safe
from decametre.errors import DecametreError, OutputError, PatchError
from decametre.landcover.extraction import spectral_rules
from decametre.landcover.extraction.label_raster import NAMES_TAG, read_label_raster
from decametre.landcover.extraction.patch_lists import CompleteGrid
from decametre.landcover.extraction.spectral_rules import (
    CLASSES,
    NOT_MEASURED,
    UNCLASSIFIED,
    classify,
)
from decametre.landcover.patches.patch import LAYOUTS
from decametre.landcover.patches.store import PatchStore
from tests.landcover.extraction.scenes import pixels, product_of


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_the_classes_of_a_real_scene(sample_item, tmp_path, monkeypatch):
    shares = api.label_product(sample_item, tmp_path / "whole.tif")
    assert list(shares) == list(CLASSES.values())
    assert shares["Vegetation"] > 0.5  # farmland in May
    assert shares["Snow"] == 0
    product = api.open(sample_item)
    with rasterio.open(tmp_path / "whole.tif") as raster:
        assert raster.transform == rasterio.Affine(*product.grid.transform())
        assert raster.crs == rasterio.CRS.from_string(product.grid.crs)
        assert raster.nodata == NOT_MEASURED
        assert raster.colormap(1)[2] == (54, 143, 61, 255)
        assert {int(k): v for k, v in json.loads(raster.tags()[NAMES_TAG]).items()} == CLASSES
        codes = raster.read(1)
    # Windows leave no seam.
    monkeypatch.setattr(spectral_rules, "_TILE", 130)
    api.label_product(sample_item, tmp_path / "tiled.tif")
    np.testing.assert_array_equal(read(tmp_path / "tiled.tif"), codes)
    measured = np.count_nonzero(codes != NOT_MEASURED)
    assert shares["Water"] == np.count_nonzero(codes == 1) / measured


def test_offset_nodata_and_saturation(tmp_path):
    bands = pixels(240, 240)
    bands["B03"][5, 7] = 0
    bands["B04"][6, 7] = 65535
    bands["B11"][10, 20] = 0  # four pixels of 10 m
    safe = make_safe(tmp_path, bands, offset_dn=-1000)
    api.label_product(safe, tmp_path / "a.tif")
    codes = read(tmp_path / "a.tif")
    gone = np.zeros((240, 240), bool)
    gone[5, 7] = gone[6, 7] = True
    gone[20:22, 40:42] = True
    np.testing.assert_array_equal(codes == NOT_MEASURED, gone)
    reflectance = {
        name: (bands[name].astype(np.float64) - 1000) / 10000
        for name in ("B02", "B03", "B04", "B08", "B11")
    }
    reflectance["B11"] = np.kron(reflectance["B11"], np.ones((2, 2)))
    expected = classify(reflectance)
    # Random numbers come as close to a threshold as float32 rounds.
    assert np.mean(codes[~gone] == expected[~gone]) > 0.9999
    assert len(np.unique(codes)) == 7


def test_a_mistake_leaves_nothing(sample_item, tmp_path):
    with pytest.raises(OutputError, match=r"ends in \.tif"):
        api.label_product(sample_item, tmp_path / "a.png")
    (tmp_path / "a.tif").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        api.label_product(sample_item, tmp_path / "a.tif")
    assert (tmp_path / "a.tif").read_text() == "mine"
    with pytest.raises(DecametreError):
        api.label_product(tmp_path / "none", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    api.label_product(sample_item, tmp_path / "a.tif", overwrite=True)
    assert read(tmp_path / "a.tif").any()


def test_patches_take_labels_from_it(sample_item, tmp_path):
    api.label_product(sample_item, tmp_path / "a.tif")
    api.extract_patches(
        sample_item,
        tmp_path / "a.h5",
        labels=tmp_path / "a.tif",
        label_share=0.2,
        stride=600,
        workers=1,
    )
    store, codes = PatchStore(tmp_path / "a.h5"), read(tmp_path / "a.tif")
    assert store.class_names == tuple(CLASSES.values())
    assert len(store) == 81  # 600 pixels hold 9 x 9 patches that overlap by half
    grid = api.open(sample_item).grid
    for place, (x, y) in enumerate(store.column("origin")):
        row, column = round((grid.top - y) / 10), round((x - grid.left) / 10)
        own = codes[row : row + 120, column : column + 120]
        expected = [np.mean(own == code) >= 0.2 for code in CLASSES]
        np.testing.assert_array_equal(store.labels[place], expected)
    assert 0 < store.labels[:, 1].mean() <= 1


def test_a_share_is_of_what_was_measured(tmp_path):
    codes = np.full((120, 120), UNCLASSIFIED, np.uint8)
    codes[:60] = NOT_MEASURED
    codes[60:66] = 1  # 720 pixels: a tenth of 7200, a twentieth of all
    product = product_of(width=120, height=120)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=120,
        height=120,
        count=1,
        dtype="uint8",
        crs=product.grid.crs,
        transform=rasterio.Affine(*product.grid.transform()),
        nodata=NOT_MEASURED,
    ) as raster:
        raster.write(codes, 1)
        raster.update_tags(**{NAMES_TAG: json.dumps(CLASSES)})
    patches = CompleteGrid().locate(product).patches
    for share, expected in ((0.1, ("Water",)), (0.101, ())):
        found = read_label_raster(tmp_path / "a.tif", share=share)
        assert found.nomenclature.classes == tuple(CLASSES.values())
        assert found.labels(product, patches) == [expected]


def test_overlapping_patches_hold_the_same_ground(sample_item, tmp_path):
    for stride in (1200, 600):
        api.extract_patches(sample_item, tmp_path / f"{stride}.h5", stride=stride, workers=1)
    apart, overlapping = (PatchStore(tmp_path / f"{stride}.h5") for stride in (1200, 600))
    origins = [tuple(origin) for origin in overlapping.column("origin")]
    places = [origins.index(tuple(origin)) for origin in apart.column("origin")]
    for key in ("data_10m", "data_20m", "data_60m"):
        one = apart.read(range(len(apart)), [key])[key]
        np.testing.assert_array_equal(overlapping.read(places, [key])[key], one)
        half = LAYOUTS[key].shape[1] // 2
        between = overlapping.read([origins.index((origins[0][0] + 600, origins[0][1]))], [key])
        np.testing.assert_array_equal(between[key][0, :, :, :half], one[0, :, :, half:])
    assert len(set(overlapping.names)) == len(overlapping)


@pytest.mark.parametrize("stride", [0, 90, 1260])
def test_strides_that_cannot_be(stride):
    with pytest.raises(PatchError, match=f"a stride of {stride} m; give a multiple of 60 m"):
        CompleteGrid(stride=stride)


def test_a_list_has_no_stride(sample_item, tmp_path):
    (tmp_path / "names.txt").write_text("S2A_MSIL2A_20170617T113321_4_55\n")
    with pytest.raises(PatchError, match="omit the list or the stride"):
        api.extract_patches(
            sample_item, tmp_path / "a.h5", patches=tmp_path / "names.txt", stride=600
        )
