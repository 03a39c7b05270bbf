"""Labels from rasters of classes."""

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from decametre.errors import CorruptDataError, NoPatchError, PatchError
from decametre.landcover.extraction.label_raster import CORINE_CODES, read_label_raster
from decametre.landcover.extraction.patch_lists import CompleteGrid
from decametre.landcover.patches.nomenclature import CORINE43
from tests.landcover.extraction.scenes import product_of


def raster(path, codes, left=300000, top=5400000, edge=100.0, crs="EPSG:32633"):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=codes.shape[1],
        height=codes.shape[0],
        count=1,
        dtype=codes.dtype,
        crs=crs,
        transform=rasterio.Affine(edge, 0, left, 0, -edge, top),
    ) as dataset:
        dataset.write(codes, 1)
    return path


def labels(found, product=None):
    product = product or product_of(width=240, height=120)
    return found.labels(product, CompleteGrid().locate(product).patches)


def test_codes_of_corine():
    assert CORINE_CODES[111] == "Continuous urban fabric"
    assert CORINE_CODES[523] == "Sea and ocean"
    assert CORINE_CODES[331] == "Beaches, dunes, sands"
    assert 335 not in CORINE_CODES  # glaciers
    assert tuple(CORINE_CODES.values()) == CORINE43.classes


def test_classes_of_each_patch(tmp_path):
    codes = np.full((12, 24), 523, np.int16)
    codes[:, :12], codes[0, 0], codes[0, 23] = 231, 512, 999
    found = read_label_raster(raster(tmp_path / "clc.tif", codes))
    assert found.nomenclature == CORINE43
    assert labels(found) == [("Pastures", "Water bodies"), ("Sea and ocean",)]


def test_a_share_of_the_patch(tmp_path):
    codes = np.full((12, 24), 231, np.uint16)
    codes[0, :2] = 512  # 2 of 144 hectares
    path = raster(tmp_path / "clc.tif", codes)
    assert labels(read_label_raster(path, share=2 / 144))[0] == ("Pastures", "Water bodies")
    assert labels(read_label_raster(path, share=2.1 / 144))[0] == ("Pastures",)


@pytest.mark.parametrize("name", ["names.json", "names.csv"])
def test_other_names(tmp_path, name):
    text = {
        "names.json": '{"2": "water", "1": "bare ground"}',
        "names.csv": "code,name\n2,water\n1,bare ground\n",
    }
    (tmp_path / name).write_text(text[name])
    codes = np.ones((12, 24), np.uint8)
    codes[:, 12:] = 2
    found = read_label_raster(raster(tmp_path / "rules.tif", codes), tmp_path / name)
    assert found.nomenclature.classes == ("water", "bare ground")
    assert labels(found) == [("bare ground",), ("water",)]


def test_a_raster_of_another_place_is_refused(tmp_path):
    path = raster(tmp_path / "clc.tif", np.full((12, 24), 231, np.int16), left=500000)
    with pytest.raises(NoPatchError, match=r"has no data on any of 2 patches of S2A_.*same ground"):
        labels(read_label_raster(path))


def test_another_crs_and_nothing_beyond_its_edge(tmp_path, caplog):
    product = product_of(width=240, height=120)
    west, south, _, north = transform_bounds(product.grid.crs, "EPSG:4326", *product.grid.bounds)
    edge = (north - south) / 100
    # It ends within the first patch.
    codes = np.full((100, 60), 311, np.int16)
    path = raster(tmp_path / "lonlat.tif", codes, west, north, edge, "EPSG:4326")
    assert labels(read_label_raster(path)) == [("Broad-leaved forest",), ()]
    assert "has no data on 1 patch of S2A_" in caplog.text


def test_rasters_that_cannot_be_used(tmp_path):
    with pytest.raises(PatchError, match="no such file"):
        read_label_raster(tmp_path / "none.tif")
    path = raster(tmp_path / "real.tif", np.ones((12, 24), np.float32))
    with pytest.raises(PatchError, match="holds float32"):
        labels(read_label_raster(path))
    with pytest.raises(PatchError, match="a share of 2"):
        read_label_raster(path, share=2)
    (tmp_path / "names.json").write_text("[1]")
    with pytest.raises(PatchError, match="no names of classes"):
        read_label_raster(path, tmp_path / "names.json")
    (tmp_path / "text.tif").write_text("text")
    with pytest.raises(CorruptDataError, match="cannot be read"):
        labels(read_label_raster(tmp_path / "text.tif"))
