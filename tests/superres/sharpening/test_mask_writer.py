"""Scene classification and masks next to the result, and nodata under clouds."""

import json

import numpy as np
import pystac
import pytest
import rasterio

import decametre
from decametre.errors import MissingBandError, UnknownNameError
from decametre.sentinel2.masks import SCENE_CLASSES
from tests.landcover.extraction.scenes import made_product
from tests.support.synthetic_masks import add_mask

FAST = {
    "model": "bicubic",
    "self_check": False,
    "bands": ["B02", "B05"],
    "window": (60, 0, 240, 120),
}
WINDOW = (slice(0, 120), slice(60, 300))


def fine(planes, factor):
    return planes.repeat(factor, axis=1).repeat(factor, axis=2)[:, *WINDOW]


@pytest.fixture(scope="module")
def l2a(tmp_path_factory):
    safe, bands = made_product(tmp_path_factory.mktemp("l2a"))
    random = np.random.default_rng(1)
    classes = random.integers(1, 12, (1, 180, 180), np.uint8)
    clouds = random.integers(0, 101, (1, 180, 180), np.uint8)
    add_mask(safe, "SCL_20m", classes, 20)
    add_mask(safe, "MSK_CLDPRB_20m", clouds, 20)
    return safe, bands, classes, clouds


@pytest.fixture(scope="module")
def l1c(tmp_path_factory):
    safe, bands = made_product(tmp_path_factory.mktemp("l1c"), level="L1C")
    planes = np.random.default_rng(2).integers(0, 2, (3, 60, 60), np.uint8)
    add_mask(safe, "MSK_CLASSI_B00", planes, 60)
    return safe, bands, planes


def test_the_scene_classification_is_copied_by_default(l2a, tmp_path):
    safe, _, classes, _ = l2a
    result = decametre.sharpen(safe, tmp_path / "a.tif", **FAST)
    with rasterio.open(tmp_path / "a.scl.tif") as scl, rasterio.open(result.path) as image:
        np.testing.assert_array_equal(scl.read(), fine(classes, 2))
        assert (scl.crs, scl.transform, scl.shape) == (image.crs, image.transform, image.shape)
        assert scl.nodata == 0
        assert scl.colormap(1)[6] == (0, 0, 255, 255)
        assert scl.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    item = pystac.Item.from_file(str(result.item_path))
    asset = item.assets["scl"]
    assert asset.href == "./a.scl.tif"
    named = {each["value"]: each["name"] for each in asset.extra_fields["classification:classes"]}
    assert named == dict(enumerate(name for name, _ in SCENE_CLASSES))
    assert any("classification" in url for url in item.stac_extensions)
    assert item.properties["decametre:settings"]["masks"] == ["scl"]


def test_masks_are_chosen_by_name(l2a, tmp_path):
    safe, _, _, clouds = l2a
    decametre.sharpen(safe, tmp_path / "a.tif", masks="cloud_probability", **FAST)
    with rasterio.open(tmp_path / "a.cloud_probability.tif") as file:
        np.testing.assert_array_equal(file.read(), fine(clouds, 2))
    assert not (tmp_path / "a.scl.tif").exists()
    decametre.sharpen(safe, tmp_path / "b.tif", masks="none", **FAST)
    assert not list(tmp_path.glob("b.*.tif"))
    with pytest.raises(MissingBandError, match=r"has no detectors .*; give masks scl,cloud_prob"):
        decametre.sharpen(safe, tmp_path / "c.tif", masks=["scl", "detectors"], **FAST)
    with pytest.raises(UnknownNameError, match="unknown mask 'slc'; did you mean scl"):
        decametre.sharpen(safe, tmp_path / "c.tif", masks="slc", **FAST)


def test_products_without_a_classification_have_no_copy(l1c, tmp_path):
    result = decametre.sharpen(l1c[0], tmp_path / "a.tif", **FAST)
    assert set(json.loads(result.item_path.read_text())["assets"]) == {"data", "quality"}


@pytest.mark.parametrize("encoding", ["dn", "reflectance"])
def test_clouds_and_their_shadows_become_nodata(l2a, tmp_path, encoding):
    safe, _, classes, _ = l2a
    plain = decametre.sharpen(safe, tmp_path / "a.tif", encoding=encoding, **FAST)
    masked = decametre.sharpen(
        safe, tmp_path / "b.tif", encoding=encoding, mask_clouds=True, tile=60, **FAST
    )
    clouds = np.isin(fine(classes, 2), (3, 8, 9, 10))[0]
    with rasterio.open(plain.path) as before, rasterio.open(masked.path) as after:
        nodata = np.nan if encoding == "reflectance" else 0
        expected = np.where(clouds, np.float32(nodata), before.read())
        np.testing.assert_array_equal(after.read(), expected)
    share = masked.quality["bands"]["B02"]["valid_percent"]
    assert share == pytest.approx(100 * (~clouds).mean(), abs=0.1)


def test_the_clouds_of_level_1c(l1c, tmp_path):
    safe, bands, planes = l1c
    decametre.sharpen(safe, tmp_path / "a.tif", masks="l1c_clouds", mask_clouds=True, **FAST)
    with rasterio.open(tmp_path / "a.l1c_clouds.tif") as file:
        np.testing.assert_array_equal(file.read(), fine(planes, 6))
        assert file.descriptions == ("opaque_clouds", "cirrus_clouds", "snow_and_ice")
    clouds = fine(planes, 6)[:2].any(axis=0)
    with rasterio.open(tmp_path / "a.tif") as file:
        np.testing.assert_array_equal(file.read(1), np.where(clouds, 0, bands["B02"][WINDOW]))


def test_clouds_of_a_product_that_shows_none(sample, tmp_path):
    with pytest.raises(MissingBandError, match=r"neither a scene classification .* mask_clouds"):
        decametre.sharpen(sample, tmp_path / "a.tif", mask_clouds=True)
    assert list(tmp_path.iterdir()) == []
