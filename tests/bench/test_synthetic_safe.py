"""Synthetic products have ESA's layout and hold the pixels they were created from."""

import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
import rasterio

from decametre.bench.synthetic_safe import make_safe, zip_safe
from decametre.sentinel2.bands import ALL_BANDS


class OneAtATime(Mapping):
    """Bands that are made when they are asked for; counts how often."""

    def __init__(self, names):
        self.names, self.asked = names, []

    def __getitem__(self, name):
        self.asked.append(name)
        return image_of(name)

    def __iter__(self):
        return iter(self.names)

    def __len__(self):
        return len(self.names)


def image_of(name, edge=120):
    side = edge * 10 // ALL_BANDS[name].gsd
    random = np.random.default_rng(ALL_BANDS[name].band_id)
    return random.integers(1, 65535, (side, side), "uint16", endpoint=True)


def files(safe):
    return sorted(str(path.relative_to(safe)) for path in safe.rglob("*") if path.is_file())


def test_names_of_l1c(tmp_path):
    safe = make_safe(tmp_path, OneAtATime(ALL_BANDS), platform="Sentinel-2C", baseline="05.11")
    assert safe.name == "S2C_MSIL1C_20230817T105031_N0511_R051_T31TCJ_20230817T170411.SAFE"
    granule = "GRANULE/L1C_T31TCJ_A042587_20230817T105031"
    images = [f"{granule}/IMG_DATA/T31TCJ_20230817T105031_{name}.jp2" for name in ALL_BANDS]
    assert files(safe) == sorted([*images, f"{granule}/MTD_TL.xml", "MTD_MSIL1C.xml"])


def test_names_of_l2a(tmp_path):
    safe = make_safe(tmp_path, {name: image_of(name) for name in ("B02", "B05")}, level="L2A")
    granule = "GRANULE/L2A_T31TCJ_A042587_20230817T105031"
    assert files(safe) == [
        f"{granule}/IMG_DATA/R10m/T31TCJ_20230817T105031_B02_10m.jp2",
        f"{granule}/IMG_DATA/R20m/T31TCJ_20230817T105031_B05_20m.jp2",
        f"{granule}/MTD_TL.xml",
        "MTD_MSIL2A.xml",
    ]
    text = (safe / "MTD_MSIL2A.xml").read_text()
    assert "_B02_60m</IMAGE_FILE>" in text  # listed at coarser resolutions too, as ESA does
    assert "_B05_10m" not in text


def test_names_of_old_l1c(tmp_path):
    safe = make_safe(tmp_path, {"B8A": image_of("B8A")}, layout="old", baseline="02.04")
    run = "PDMC_20230817T170411_R051_V20230817T105031_20230817T105031"
    assert safe.name == f"S2A_OPER_PRD_MSIL1C_{run}.SAFE"
    tile = "TL_EPA__20230817T170411_A042587_T31TCJ"
    granule = f"GRANULE/S2A_OPER_MSI_L1C_{tile}_N02.04"
    assert files(safe) == [
        f"{granule}/IMG_DATA/S2A_OPER_MSI_L1C_{tile}_B8A.jp2",
        f"{granule}/S2A_OPER_MTD_L1C_{tile}.xml",
        f"S2A_OPER_MTD_SAFL1C_{run}.xml",
    ]


@pytest.mark.parametrize("name", ["B02", "B05", "B01"])
def test_pixels_and_grid_are_kept(tmp_path, name):
    gsd = ALL_BANDS[name].gsd
    where = {"crs": "EPSG:32733", "left": 499980, "top": 6600000}
    safe = make_safe(tmp_path, {name: image_of(name)}, **where)
    with rasterio.open(next(safe.rglob("*.jp2"))) as dataset:
        assert dataset.driver == "JP2OpenJPEG"
        assert dataset.crs.to_epsg() == 32733
        assert tuple(dataset.transform)[:6] == (gsd, 0, 499980, 0, -gsd, 6600000)
        np.testing.assert_array_equal(dataset.read(1), image_of(name))


@pytest.mark.parametrize(("name", "tile"), [("B02", 1024), ("B05", 640), ("B01", 192)])
def test_tile_sizes_are_those_of_esa(tmp_path, name, tile):
    safe = make_safe(tmp_path, {name: np.ones((tile + 6, tile + 6), np.uint16)})
    with rasterio.open(next(safe.rglob("*.jp2"))) as dataset:
        assert dataset.block_shapes == [(tile, tile)]


def test_lossy_is_smaller(tmp_path):
    sizes = {}
    for lossless in (True, False):
        (tmp_path / str(lossless)).mkdir()
        image = {"B02": image_of("B02", edge=360)}
        safe = make_safe(tmp_path / str(lossless), image, lossless=lossless)
        sizes[lossless] = next(safe.rglob("*.jp2")).stat().st_size
    assert sizes[False] < 0.5 * sizes[True]


def test_bands_are_read_once_and_one_at_a_time(tmp_path):
    bands = OneAtATime(["B05", "B02"])
    make_safe(tmp_path, bands)
    assert bands.asked == ["B05", "B02"]


def test_the_zip_contains_the_folder(tmp_path):
    safe = make_safe(tmp_path, {"B01": image_of("B01")})
    packed = zip_safe(safe)
    assert packed == tmp_path / f"{safe.name}.zip"
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        found = sorted(each for each in archive.namelist() if not each.endswith("/"))
        assert found == [f"{safe.name}/{name}" for name in files(safe)]
        assert {each.compress_type for each in archive.infolist() if not each.is_dir()} == {8}
