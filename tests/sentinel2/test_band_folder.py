"""Folders with one file for each band: Theia, tiles on AWS, and plain files."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from decametre.errors import CorruptDataError, NotAProductError, RadiometryError
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader

WINDOW = Window(0, 0, 120, 120)
THEIA = "SENTINEL2B_20180429-105537-763_L2A_T31TCJ_C_V2-2"
PRODUCT = "S2B_MSIL2A_20230817T104629_N0509_R051_T31TCJ_20230817T134917"


@pytest.fixture(scope="module")
def pixels(sample):
    with BandReader(sample, sample.bands) as reader:
        return reader.read_all(sample.bands, WINDOW)


def write(path: Path, values, gsd, driver="GTiff"):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": driver,
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype.name,
        "crs": "EPSG:32631",
        "transform": (gsd, 0, 300000, 0, -gsd, 4900020),
    }
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    with rasterio.open(path, "w", **profile, **options) as dataset:
        dataset.write(values, 1)


def write_all(folder, pixels, pattern, driver="GTiff"):
    for name, values in pixels.items():
        gsd = ALL_BANDS[name].gsd
        write(folder / pattern.format(name=name, gsd=gsd), values, gsd, driver)
    return folder


def read(product):
    with BandReader(product, product.bands) as reader:
        return reader.read_all(product.bands, WINDOW)


def theia(folder, pixels, kind="FRE", add=0):
    """Reflectance with a negative pixel and one without data."""
    for name, values in pixels.items():
        if ALL_BANDS[name].gsd < 60:
            image = values.astype(np.int16) + np.int16(add)
            image[0, :2] = -10000, -37
            short = name[0] + name[1:].lstrip("0")
            write(folder / THEIA / f"{THEIA}_{kind}_{short}.tif", image, ALL_BANDS[name].gsd)
    return folder / THEIA


def test_theia(tmp_path, pixels):
    folder = theia(tmp_path, pixels)
    product = open_product(folder)
    assert (product.id, product.level, product.tile) == (THEIA, "L2A", "31TCJ")
    assert (product.platform, product.datetime) == ("sentinel-2b", "2018-04-29T10:55:37Z")
    assert set(product.missing) == {"B01", "B09"}
    radiometry = product.bands["B8A"].radiometry
    dn = read(product)["B8A"]
    assert dn[0, 0] == radiometry.nodata == 0
    found = radiometry.to_reflectance(dn)
    assert found[0, 1] == pytest.approx(-0.0037, abs=1e-7)
    np.testing.assert_allclose(found[1:], pixels["B8A"][1:] * 1e-4, atol=1e-7)


def test_theia_prefers_fre_and_a_file_selects_its_kind(tmp_path, pixels):
    theia(tmp_path, pixels, "SRE", add=100)
    folder = theia(tmp_path, pixels)
    flat = open_product(folder)
    surface = open_product(folder / f"{THEIA}_SRE_B2.tif")
    assert "FRE" in flat.offset_reason
    assert "SRE" in surface.offset_reason
    assert flat.id == surface.id
    difference = read(surface)["B05"][1:].astype(int) - read(flat)["B05"][1:]
    assert (difference == 100).all()


def test_theia_has_no_offset(tmp_path, pixels):
    with pytest.raises(RadiometryError, match="Theia's products have no offset"):
        open_product(theia(tmp_path, pixels), offset=-1000)


def test_a_tile_on_aws(tmp_path, pixels):
    folder = tmp_path / "tiles/31/T/CJ/2023/8/17/0"
    write_all(folder, pixels, "R{gsd}m/{name}.jp2", "JP2OpenJPEG")
    write(folder / "R60m/B02.jp2", pixels["B01"], 60, "JP2OpenJPEG")  # L2A has coarse copies
    info = {
        "productName": PRODUCT,
        "timestamp": "2023-08-17T10:50:31.024Z",
        "utmZone": 31,
        "latitudeBand": "T",
        "gridSquare": "CJ",
    }
    (folder / "tileInfo.json").write_text(json.dumps(info))
    product = open_product(folder)
    assert (product.id, product.level, product.baseline) == (PRODUCT, "L2A", "05.09")
    assert (product.tile, product.datetime) == ("31TCJ", "2023-08-17T10:50:31.024Z")
    assert product.bands["B02"].radiometry.offset_dn == -1000
    assert list(product.bands) == list(ALL_BANDS)
    for name, values in read(product).items():
        np.testing.assert_array_equal(values, pixels[name])


@pytest.mark.parametrize("pattern", ["{name}.tif", "mosaic_{name}.tif", "x-{name}_{gsd}m.tiff"])
def test_plain_files_need_an_offset(tmp_path, pixels, pattern):
    folder = write_all(tmp_path / "stack", pixels, pattern)
    (folder / "SCL.tif").touch()
    with pytest.raises(RadiometryError, match="give --offset -1000"):
        open_product(folder)
    product = open_product(folder, offset="none")
    assert (product.id, product.level, product.baseline) == ("stack", "unknown", None)
    np.testing.assert_array_equal(read(product)["B12"], pixels["B12"])


def test_a_product_name_states_the_offset(tmp_path, pixels):
    product = open_product(write_all(tmp_path / PRODUCT, pixels, "{name}.tif"))
    assert product.bands["B05"].radiometry.offset_dn == -1000
    assert product.tile == "31TCJ"


def test_folders_that_are_refused(tmp_path, pixels):
    two = write_all(tmp_path / "two", pixels, "a_{name}.tif")
    write_all(two, pixels, "b_{name}.tif")
    with pytest.raises(NotAProductError, match=r"several files, a_B01.tif and b_B01.tif"):
        open_product(two, offset="none")
    floats = {name: values.astype(np.float32) for name, values in pixels.items()}
    folder = write_all(tmp_path / "floats", floats, "{name}.tif")
    with pytest.raises(CorruptDataError, match="expected one band of uint16"):
        open_product(folder, offset="none")
    (tmp_path / "other").mkdir()
    with pytest.raises(NotAProductError, match="not a Sentinel-2 product"):
        open_product(tmp_path / "other")


def test_a_damaged_file_of_theia(tmp_path, pixels):
    folder = theia(tmp_path, pixels)
    path = folder / f"{THEIA}_FRE_B5.tif"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(CorruptDataError, match="band B05"):
        read(open_product(folder))
