"""The scene classification is found wherever its publisher put it."""

import json

import numpy as np
import pytest
import rasterio

from decametre.errors import CorruptDataError, GridError, MissingBandError
from decametre.sentinel2.grid import Window
from decametre.sentinel2.masks import (
    find_masks,
    mask_assets,
    read_mask,
    read_scene_classification,
)
from decametre.sentinel2.opening import open_product


@pytest.fixture
def item(tmp_path, sample_item):
    """The sample's item, with bands where they are, to which assets may be added."""
    from pathlib import Path

    document = json.loads(Path(sample_item).read_text())
    for asset in document["assets"].values():
        asset["href"] = str((Path(sample_item).parent / asset["href"]).resolve())

    def with_asset(key, **changes):
        classes = np.arange(300 * 300, dtype=np.uint8).reshape(300, 300) % 12
        profile = {
            "driver": "GTiff",
            "width": 300,
            "height": 300,
            "count": 1,
            "dtype": "uint8",
            "crs": "EPSG:32633",
            "transform": rasterio.Affine(20, 0, 300000, 0, -20, 6200040),
        } | changes
        with rasterio.open(tmp_path / "scl.tif", "w", **profile) as dataset:
            dataset.write(classes[: profile["height"], : profile["width"]], 1)
        document["assets"][key] = {"href": "./scl.tif"}
        (tmp_path / "item.json").write_text(json.dumps(document))
        return open_product(str(tmp_path / "item.json")), classes

    return with_asset


@pytest.mark.parametrize("key", ["scl", "SCL", "SCL_20m"])
def test_assets_of_catalogues(item, key):
    product, classes = item(key)
    np.testing.assert_array_equal(read_scene_classification(product), classes)


def test_another_grid(item):
    product, _ = item("scl", transform=rasterio.Affine(20, 0, 300020, 0, -20, 6200040))
    with pytest.raises(GridError, match=r"\(300, 300\) pixels from 300020"):
        read_scene_classification(product)
    product, _ = item("scl", width=150)
    with pytest.raises(GridError, match=r"\(300, 150\) pixels"):
        read_scene_classification(product)


def test_a_damaged_file(item, tmp_path):
    product, _ = item("scl")
    (tmp_path / "scl.tif").write_bytes((tmp_path / "scl.tif").read_bytes()[:40_000])
    with pytest.raises(CorruptDataError, match="cannot be read"):
        read_scene_classification(product)


def test_none_at_all(item):
    product, _ = item("something")
    with pytest.raises(MissingBandError, match="has no scene classification"):
        read_scene_classification(product)


def test_files_of_products_are_recognised_by_name():
    folder = "GRANULE/L2A_T31TCJ/"
    found = find_masks(
        [
            f"{folder}IMG_DATA/R20m/T31TCJ_20230817T104629_SCL_20m.jp2",
            f"{folder}IMG_DATA/R20m/T31TCJ_20230817T104629_B05_20m.jp2",
            f"{folder}QI_DATA/MSK_CLDPRB_20m.jp2",
            f"{folder}QI_DATA/MSK_CLDPRB_60m.jp2",
            f"{folder}QI_DATA/MSK_CLASSI_B00.jp2",
            f"{folder}QI_DATA/MSK_CLOUDS_B00.gml",
            f"{folder}QI_DATA/MSK_DETFOO_B02.jp2",
            f"{folder}QI_DATA/MSK_DETFOO_B03.jp2",
        ]
    )
    assert list(found) == ["scl", "cloud_probability", "l1c_clouds", "detectors"]
    assert found["detectors"].endswith("_B02.jp2")
    assert find_masks(["R20m/SCL.jp2"]) == {"scl": "R20m/SCL.jp2"}
    assert mask_assets(["SCL", "cloud", "red"]) == {"scl": "SCL", "cloud_probability": "cloud"}


def test_windows_may_start_inside_a_pixel(item):
    product, classes = item("scl")
    pixels = read_mask(product, "scl", Window(3, 5, 4, 3))
    assert pixels.window == Window(2, 4, 6, 4)
    expected = classes.repeat(2, axis=0).repeat(2, axis=1)[5:8, 3:7]
    np.testing.assert_array_equal(pixels.at(Window(3, 5, 4, 3)), expected[None])
