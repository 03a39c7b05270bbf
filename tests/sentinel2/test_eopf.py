"""Products in ESA's EOPF Zarr format, in both Zarr formats, in a folder, a zip and on servers."""

import json
import shutil
import zipfile

import fsspec
import numpy as np
import pytest
import zarr

import decametre
from decametre import extras
from decametre.bench.synthetic_eopf import make_eopf
from decametre.bench.synthetic_safe import make_safe
from decametre.errors import (
    CorruptDataError,
    GridError,
    MissingBandError,
    MissingExtraError,
    NotAProductError,
    OutputError,
    RadiometryError,
)
from decametre.io.outputs import check_input_safe
from decametre.sentinel2 import eopf, zarr_store
from decametre.sentinel2.grid import Window
from decametre.sentinel2.local_copy import copy_bands
from decametre.sentinel2.masks import read_scene_classification
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from tests.fleet.servers import file_server

WINDOW = Window(0, 0, 120, 120)
SMALL = {10: 50, 20: 26, 60: 7}
"""Chunks that do not divide the bands evenly."""


@pytest.fixture(scope="module")
def pixels(sample):
    with BandReader(sample, sample.bands) as reader:
        return reader.read_all(sample.bands, WINDOW)


@pytest.fixture(scope="module")
def safe(pixels, tmp_path_factory):
    return open_product(make_safe(tmp_path_factory.mktemp("safe"), pixels, level="L2A"))


@pytest.fixture(scope="module", params=[2, 3])
def original(pixels, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp(f"format{request.param}")
    scl = (np.arange(3600).reshape(60, 60) % 12).astype(np.uint8)
    return make_eopf(
        folder, pixels | {"SCL": scl}, level="L2A", zarr_format=request.param, chunks=SMALL
    )


@pytest.fixture
def product(original, tmp_path):
    """A copy to damage."""
    return shutil.copytree(original, tmp_path / original.name)


def read(product, window=WINDOW):
    with BandReader(product, product.bands) as reader:
        return reader.read_all(product.bands, window)


def change(path, **attributes):
    """Change attributes of an array or group; None removes one."""
    node = zarr.open(path, use_consolidated=False)
    kept = {
        key: value for key, value in (dict(node.attrs) | attributes).items() if value is not None
    }
    node.attrs.put(kept)
    root = next(each for each in (path, *path.parents) if each.suffix == ".zarr")
    zarr.consolidate_metadata(root)


def test_it_describes_the_same_product_as_the_safe(original, safe):
    product = open_product(original)
    for field in ("id", "level", "baseline", "platform", "datetime", "tile", "grid", "properties"):
        assert getattr(product, field) == getattr(safe, field), field
    for name, file in safe.bands.items():
        assert product.bands[name].radiometry == file.radiometry
    assert list(product.bands) == list(safe.bands)
    assert product.offset_reason == "add_offset -0.1 of measurements/reflectance/r60m/b01"


def test_pixels_are_those_of_the_safe(original, safe):
    product = open_product(original)
    for window in (WINDOW, Window(6, 12, 60, 30), Window(54, 48, 66, 72)):
        found, expected = read(product, window), read(safe, window)
        for name in safe.bands:
            np.testing.assert_array_equal(found[name], expected[name])


def test_a_zip_with_and_without_a_folder(original, tmp_path, safe):
    for number, base in enumerate([original.parent, original]):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for each in sorted(original.rglob("*")):
                archive.write(each, each.relative_to(base))
        product = open_product(path)
        assert product.id == safe.id
        np.testing.assert_array_equal(read(product)["B05"], read(safe)["B05"])


def test_an_object_store(original, safe):
    memory = fsspec.filesystem("memory")
    memory.put(str(original), f"/bucket/{original.name}", recursive=True)
    product = open_product(f"memory://bucket/{original.name}/measurements/reflectance/r10m")
    assert product.grid == safe.grid
    np.testing.assert_array_equal(read(product)["B01"], read(safe)["B01"])


def eopf_item(base):
    bands = {"B02_10m": "r10m/b02", "B05_20m": "r20m/b05", "SR_10m": "r10m"}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "S2A_X",
        "geometry": None,
        "properties": {"datetime": "2023-08-17T10:50:31.024Z", "platform": "sentinel-2a"},
        "links": [],
        "assets": {
            key: {"href": f"{base}/measurements/reflectance/{path}", "type": "application/vnd+zarr"}
            for key, path in bands.items()
        }
        | {"product": {"href": base, "type": "application/vnd+zarr"}},
    }


def test_a_server_and_an_item_of_the_eopf_sample_service(original, safe, tmp_path):
    with file_server(original.parent) as address:
        product = open_product(f"{address}/{original.name}")
        np.testing.assert_array_equal(read(product)["B12"], read(safe)["B12"])
        item = tmp_path / "item.json"
        item.write_text(json.dumps(eopf_item(f"{address}/{original.name}")))
        product = open_product(item)
        assert (product.id, product.source) == ("S2A_X", str(item))
        assert list(product.bands) == list(safe.bands)
        np.testing.assert_array_equal(read(product)["B12"], read(safe)["B12"])
        with pytest.raises(NotAProductError, match="no Zarr group"):
            open_product(f"{address}/other.zarr")


def test_scene_classification(original, safe):
    product = open_product(original)
    expected = np.arange(3600).reshape(60, 60) % 12
    np.testing.assert_array_equal(read_scene_classification(product), expected)


def test_products_without_angles_scene_classification_or_discovery(product, caplog):
    shutil.rmtree(product / "conditions")
    zarr.consolidate_metadata(product)
    change(product, stac_discovery=None)
    found = open_product(product)
    assert found.properties == {}
    assert (found.level, found.tile, found.baseline) == ("L2A", "31TCJ", "05.09")
    assert found.grid.crs == "EPSG:32631"
    assert "no stac_discovery" in caplog.text
    with pytest.raises(MissingBandError, match="scene classification"):
        read_scene_classification(found)


def test_a_part_has_the_grid_of_its_coordinates(pixels, tmp_path):
    """xarray keeps the attributes of the complete product when it cuts a part out."""
    path = make_eopf(tmp_path, pixels, left=306000)
    for band in path.glob("measurements/reflectance/*/b*"):
        whole = [10.0, 0.0, 300000.0, 0.0, -10.0, 4900020.0]
        change(band, **{"proj:shape": [10980, 10980], "proj:transform": whole})
    assert open_product(path).grid.left == 306000


def test_offsets_of_other_products(pixels, tmp_path):
    bands = {"B02": pixels["B02"]}
    old = make_eopf(tmp_path, bands, baseline="02.14", offset_dn=None)
    assert open_product(old).bands["B02"].radiometry.offset_dn == 0
    unstated = make_eopf(tmp_path, bands, offset_dn=None)
    assert open_product(unstated).bands["B02"].radiometry.offset_dn == -1000
    given = open_product(unstated, offset=-500)
    assert given.bands["B02"].radiometry.offset_dn == -500
    assert given.offset_reason == "given by the user: -500 DN"


def test_missing_bands_and_groups(product):
    shutil.rmtree(product / "measurements/reflectance/r60m")
    shutil.rmtree(product / "measurements/reflectance/r20m/b8a")
    zarr.consolidate_metadata(product)
    found = open_product(product)
    assert set(found.missing) == {"B01", "B8A", "B09"}
    assert "r20m/b8a" in found.missing["B8A"]
    shutil.rmtree(product / "measurements")
    zarr.consolidate_metadata(product)
    with pytest.raises(MissingBandError, match="no band in measurements/reflectance"):
        open_product(product)


def a_chunk(product, band):
    files = sorted(
        p for p in (product / "measurements/reflectance" / band).rglob("*") if p.is_file()
    )
    return next(p for p in files if p.suffix != ".json" and not p.name.startswith(".z"))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"x" * 40])
def test_a_damaged_chunk(product, damage):
    path = a_chunk(product, "r20m/b05")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptDataError, match=r"band B05: chunk 0, 0 .*download it again"):
        read(open_product(product))


def test_a_damaged_member_of_a_zip(original, tmp_path):
    path = tmp_path / "x.zarr.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for each in sorted(original.rglob("*")):
            archive.write(each, each.relative_to(original))
        member = a_chunk(original, "r10m/b02").relative_to(original).as_posix()
        start = archive.getinfo(member).header_offset + len(member) + 80
    content = bytearray(path.read_bytes())
    content[start] ^= 255
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="band B02: chunk 0, 0"):
        read(open_product(path))


def test_metadata_that_cannot_be_used(product, monkeypatch):
    b05 = product / "measurements/reflectance/r20m/b05"
    change(b05, scale_factor=1)
    with pytest.raises(RadiometryError, match=r"r20m/b05: scale_factor is 1, expected"):
        open_product(product)
    change(b05, scale_factor=0.0001, add_offset=-1000)
    with pytest.raises(RadiometryError, match="add_offset is -1000"):
        open_product(product)
    assert open_product(product, offset=-1000).bands["B05"].radiometry.offset_dn == -1000
    change(b05, add_offset=-0.1)
    monkeypatch.setattr(eopf, "MAX_CHUNK_BYTES", 1000)
    with pytest.raises(CorruptDataError, match="chunks of"):
        open_product(product)


@pytest.mark.parametrize("shape", [(60,), (60, 60, 2), (0, 60)])
def test_shapes_that_no_band_has(product, shape):
    root = zarr.open_group(product, mode="a", use_consolidated=False)
    root.create_array("measurements/reflectance/r20m/b05", shape=shape, dtype="u2", overwrite=True)
    zarr.consolidate_metadata(product)
    with pytest.raises(CorruptDataError, match=r"B05: .* of shape"):
        open_product(product)


def test_absurd_shapes_are_refused_before_memory_is_needed(product):
    root = zarr.open_group(product, mode="a", use_consolidated=False)
    root.create_array(
        "measurements/reflectance/r20m/b05",
        shape=(10**9, 10**9),
        chunks=(1000, 1000),
        dtype="u2",
        overwrite=True,
    )
    zarr.consolidate_metadata(product)
    with pytest.raises(GridError, match="B05"):
        open_product(product)


def test_floating_point_pixels_are_refused(product):
    root = zarr.open_group(product, mode="a", use_consolidated=False)
    name = "measurements/reflectance/r20m/b05"
    root.create_array(name, shape=(60, 60), dtype="f4", overwrite=True)
    zarr.consolidate_metadata(product)
    with pytest.raises(CorruptDataError, match="float32"):
        open_product(product)


def test_folders_that_are_no_products(tmp_path):
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(MissingBandError, match="no band in"):
        open_product(tmp_path / "empty.zarr")
    (tmp_path / "no.zarr").mkdir()
    with pytest.raises(NotAProductError, match="no Zarr group"):
        open_product(tmp_path / "no.zarr")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    with pytest.raises(CorruptDataError, match="cannot be opened as Zarr"):
        open_product(tmp_path / "broken.zarr")


def test_other_satellites(product):
    change(product, stac_discovery={"properties": {"platform": "sentinel-3a"}})
    with pytest.raises(NotAProductError, match=r"of +sentinel-3a"):
        open_product(product)


def test_without_the_extra(original, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "zarr" else object())
    with pytest.raises(MissingExtraError, match=r"needs zarr: pip install 'decametre\[zarr\]'"):
        open_product(original)


def test_chunks_are_decoded_once_and_few_are_kept(original, monkeypatch):
    image = open_product(original).bands["B02"].image
    decoded = []

    class Recorder:
        chunks, dtype = image.array.chunks, image.array.dtype

        def __getitem__(self, at):
            decoded.append(at)
            return image.array[at]

    counted = zarr_store.ZarrImage("B02", Recorder(), "X.zarr/b02")
    monkeypatch.setattr(zarr_store, "CACHE_BYTES", 2 * 50 * 50 * 2)
    for _ in range(3):
        counted.read(Window(10, 10, 20, 20))
    assert len(decoded) == 1
    counted.read(Window(0, 0, 100, 100))  # complete chunks are not kept
    assert len(decoded) == 4
    counted.read(Window(40, 40, 20, 20))
    assert len(counted._kept) == 2


def test_copies_and_outputs(original, tmp_path):
    product = open_product(original)
    assert copy_bands(product, ["B02"], tmp_path).bands["B02"] is product.bands["B02"]
    with pytest.raises(OutputError, match="lies inside the input"):
        check_input_safe(product, original / "measurements" / "x.tif")


def test_sharpened_bytes_are_those_of_the_safe(original, safe, tmp_path):
    results = []
    for number, product in enumerate([safe, open_product(original)]):
        path = tmp_path / f"{number}.tif"
        decametre.sharpen(
            product, path, model="bicubic", precision="float32", encoding="reflectance"
        )
        results.append(path.read_bytes())
    assert results[0] == results[1]
