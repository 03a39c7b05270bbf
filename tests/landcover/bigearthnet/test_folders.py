"""Real patches of both versions of BigEarthNet, intact and damaged."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

from decametre.errors import CorruptDataError, GridError, MissingBandError, PatchError
from decametre.landcover.bigearthnet.folders import FolderV1, FolderV2, Metadata, open_folder
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from tests.landcover.bigearthnet.archives import DATA, TILE, V1_NAMES, V2_NAMES, folder_of, pixels

TABLE = DATA / "v2" / "metadata.parquet"
SNOW = DATA / "v2" / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"


def assert_pixels(patch, name):
    bands = pixels(folder_of(name))
    assert len(bands) == 12
    for key in NATIVE_KEYS:
        for place, band in enumerate(LAYOUTS[key].bands):
            np.testing.assert_array_equal(patch.data[key][place], bands[band])


def test_a_patch_of_v1():
    archive = open_folder(DATA / "v1", [])
    assert isinstance(archive, FolderV1)
    assert archive.names == V1_NAMES
    patch = archive.read(V1_NAMES[1])
    assert_pixels(patch, V1_NAMES[1])
    assert patch.labels == (
        "Complex cultivation patterns",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        "Broad-leaved forest",
        "Transitional woodland/shrub",
    )
    assert patch.crs == "EPSG:32629"
    assert patch.origin == (567180.0, 4358040.0)
    assert patch.product == "S2A_MSIL1C_20171221T112501_N0206_R037_T29SND_20171221T114356"
    assert (patch.split, patch.country) == ("", "")
    assert not patch.offset.any()


def test_origins_of_v1_are_those_of_its_json():
    archive = open_folder(DATA / "v1", [])
    for name in archive.names:
        content = json.loads((folder_of(name) / f"{name}_labels_metadata.json").read_text())
        corner = content["coordinates"]["ulx"], content["coordinates"]["uly"]
        assert archive.read(name).origin == corner


def test_v1_takes_splits_from_the_table_of_v2():
    archive = open_folder(DATA / "v1", [TABLE])
    patch = archive.read(V1_NAMES[1])
    assert (patch.split, patch.country) == ("test", "Portugal")
    assert "Transitional woodland/shrub" in patch.labels  # v1's own


@pytest.mark.parametrize("folder", [DATA / "v2", DATA / "v2" / "BigEarthNet-S2"])
def test_a_patch_of_v2(folder):
    archive = open_folder(folder, [])
    assert isinstance(archive, FolderV2)
    assert archive.names == V2_NAMES
    patch = archive.read(V2_NAMES[1])
    assert_pixels(patch, V2_NAMES[1])
    assert set(patch.labels) == {"Coniferous forest", "Mixed forest", "Pastures"}
    assert (patch.split, patch.country) == ("train", "Austria")
    assert patch.crs == "EPSG:32633"
    assert patch.origin == (406800.0, 5378400.0)
    assert patch.product == TILE


def test_a_folder_without_patches(tmp_path):
    assert open_folder(tmp_path, []) is None


def test_v2_without_its_table(tmp_path):
    shutil.copytree(DATA / "v2" / "BigEarthNet-S2", tmp_path / "BigEarthNet-S2")
    with pytest.raises(PatchError, match=r"no metadata\.parquet in it or next to it"):
        open_folder(tmp_path, [])


@pytest.fixture
def broken(tmp_path):
    """A copy of a patch of v1, to break."""
    shutil.copytree(DATA / "v1" / V1_NAMES[0], tmp_path / V1_NAMES[0])
    return tmp_path / V1_NAMES[0]


def read(folder):
    return FolderV1(folder.parent).read(folder.name)


def band(folder, name):
    return folder / f"{folder.name}_{name}.tif"


def test_a_missing_band(broken):
    band(broken, "B8A").unlink()
    with pytest.raises(MissingBandError, match=r"B8A.tif: no such file; the patch has no band B8A"):
        read(broken)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_band(broken, share):
    path = band(broken, "B02")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(CorruptDataError, match=r"B02.tif: cannot be decoded"):
        read(broken)


def rewrite(path, image, **changes):
    with rasterio.open(path) as dataset:
        profile = {**dataset.profile, "width": image.shape[1], "height": image.shape[0], **changes}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image, 1)


def test_a_band_of_another_size(broken):
    rewrite(band(broken, "B01"), np.ones((120, 120), np.uint16))
    with pytest.raises(
        GridError, match=r"B01.tif: uint16 of 120 x 120 pixels, expected uint16 of 20"
    ):
        read(broken)


def test_a_band_of_another_type(broken):
    rewrite(band(broken, "B05"), np.ones((60, 60), np.float32), dtype="float32")
    with pytest.raises(GridError, match=r"B05.tif: float32"):
        read(broken)


def test_a_band_of_another_place(broken):
    path = band(broken, "B11")
    with rasterio.open(path) as dataset:
        image, moved = dataset.read(1), dataset.transform.translation(20, 0) @ dataset.transform
    rewrite(path, image, transform=moved)
    with pytest.raises(GridError, match="band B11 has transform"):
        read(broken)


def test_a_band_without_georeference(broken):
    rewrite(band(broken, "B03"), np.ones((120, 120), np.uint16), crs=None)
    with pytest.raises(CorruptDataError, match=r"B03.tif: no coordinate system"):
        read(broken)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "not JSON"),
        ('{"labels": ["Past', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[]", "no list of labels"),
        ("{}", "no list of labels"),
        ('{"labels": "Pastures"}', "no list of labels"),
        ('{"labels": []}', "no list of labels"),
        ('{"labels": ["Pasture"]}', "did you mean Pastures"),
    ],
)
def test_broken_labels(broken, text, message):
    path = broken / f"{broken.name}_labels_metadata.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorruptDataError, match=message) as caught:
        read(broken)
    assert str(path) in str(caught.value)


def test_two_tables_together():
    both = Metadata([TABLE, SNOW])
    assert "S2A_MSIL2A_20171101T094131_N9999_R036_T35VNJ_00_00" in both
    assert both.split("S2A_MSIL2A_20171101T094131_N9999_R036_T35VNJ_00_00") == "train"
    assert both.country(V2_NAMES[0]) == "Austria"
    with pytest.raises(PatchError, match="a patch appears twice"):
        Metadata([TABLE, TABLE])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [["Pasture"]] * 4}, "did you mean Pastures"),
        ({"split": ["val"] * 4}, "split 'val' is not one of"),
        ({"country": None}, "country"),
    ],
)
def test_a_table_that_makes_no_sense(tmp_path, changes, message):
    columns = {**pq.read_table(TABLE).to_pydict(), **changes}
    path = tmp_path / "metadata.parquet"
    pq.write_table(pa.table({key: v for key, v in columns.items() if v is not None}), path)
    with pytest.raises(PatchError, match=message) as caught:
        Metadata([path])
    assert str(path) in str(caught.value)


def test_no_table(tmp_path):
    (tmp_path / "metadata.parquet").write_text("text")
    for path in (tmp_path / "metadata.parquet", tmp_path / "none.parquet"):
        with pytest.raises(PatchError, match="cannot be read"):
            Metadata([path])
