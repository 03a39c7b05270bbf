"""Opening SAFE products as folder, zip, metadata path and granule, whole or damaged or hostile."""

import errno
import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from decametre.bench.synthetic_safe import make_safe, zip_safe
from decametre.errors import (
    CorruptDataError,
    DecametreError,
    GridError,
    MissingBandError,
    NotAProductError,
)
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Grid, Window
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.safe import open_safe

ROWS, COLUMNS = 60, 120


@pytest.fixture(scope="module")
def bands():
    random = np.random.default_rng(7)
    return {
        name: random.integers(1, 9000, (ROWS * 10 // band.gsd, COLUMNS * 10 // band.gsd), "uint16")
        for name, band in ALL_BANDS.items()
    }


@pytest.fixture(scope="module")
def made(bands, tmp_path_factory):
    """Products by level and layout; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    return {
        (level, layout): make_safe(folder, bands, level=level, layout=layout)
        for level in ("L1C", "L2A")
        for layout in ("new", "old")
    }


@pytest.fixture
def l1c(made, tmp_path):
    """A copy of the L1C product that a test may damage."""
    original = made["L1C", "new"]
    return shutil.copytree(original, tmp_path / original.name)


def metadata_of(safe):
    return next(path for path in safe.glob("*.xml") if "MTD" in path.name)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def pixels(product):
    with BandReader(product, product.bands) as reader:
        return {name: reader.read(name, product.grid.window) for name in product.bands}


def assert_same(found, expected):
    assert list(found) == [name for name in ALL_BANDS if name in expected]
    for name, image in found.items():
        np.testing.assert_array_equal(image, expected[name], err_msg=name)


def refused(error, source):
    """The message, which must be one line that names the source."""
    with pytest.raises(error) as caught:
        open_safe(str(source))
    message = str(caught.value)
    assert str(source) in message
    assert "\n" not in message
    return message


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# What is accepted


@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_folder_zip_metadata_and_granule_are_the_same_product(made, bands, level, layout):
    safe = made[level, layout]
    sources = [safe, zip_safe(safe), metadata_of(safe), next((safe / "GRANULE").iterdir())]
    for source in sources:
        product = open_safe(str(source))
        assert product.source == str(source)
        assert product.id == safe.stem
        assert product.level == level
        assert product.baseline == "05.09"
        assert product.platform == "sentinel-2a"
        assert product.datetime == "2023-08-17T10:50:31.024Z"
        assert product.tile == "31TCJ"
        assert product.grid == Grid("EPSG:32631", 300000, 4900020, COLUMNS, ROWS)
        assert product.missing == {}
        assert product.properties == {
            "eo:cloud_cover": 12.5,
            "sat:relative_orbit": 51,
            "sat:orbit_state": "descending",
            "view:sun_azimuth": 152.25,
            "view:sun_elevation": 58.5,
            "view:incidence_angle": pytest.approx(4.416667),
        }
        assert_same(pixels(product), bands)


def test_l2a_bands_come_from_their_native_folders(made):
    product = open_safe(str(made["L2A", "new"]))
    for name, file in product.bands.items():
        assert f"/R{ALL_BANDS[name].gsd}m/" in file.path


def test_relative_paths(made, monkeypatch):
    safe = made["L1C", "new"]
    monkeypatch.chdir(safe.parent)
    assert open_safe(safe.name).id == safe.stem
    assert open_safe(safe.name + "/").id == safe.stem
    monkeypatch.chdir(safe)
    assert open_safe(".").id == safe.stem
    assert open_safe("MTD_MSIL1C.xml").id == safe.stem


def test_a_renamed_folder_is_still_the_product(l1c, tmp_path):
    assert open_safe(str(l1c.rename(tmp_path / "mine"))).id == l1c.stem


@pytest.mark.parametrize("root", ["", "X.SAFE/", "download/X.SAFE/", "a folder/Ünïcode.SAFE/"])
def test_where_the_product_lies_in_a_zip(l1c, tmp_path, bands, root):
    files = [path for path in l1c.rglob("*") if path.is_file()]
    packed = zip_of(
        tmp_path / "a product {1}.zip",
        {root + str(path.relative_to(l1c)): path.read_bytes() for path in files},
    )
    product = open_safe(str(packed))
    assert product.id == l1c.stem
    assert product.properties["view:sun_azimuth"] == 152.25
    assert_same(pixels(product), bands)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_windows_of_a_zip(made, bands, compression):
    product = open_safe(str(zip_safe(made["L2A", "new"], compression)))
    with BandReader(product, ["B8A", "B09"]) as reader:
        for window in (Window(60, 0, 60, 60), Window(0, 12, 36, 24), Window(114, 54, 6, 6)):
            for name in ("B8A", "B09"):
                rows, columns = window.coarsened(ALL_BANDS[name].gsd // 10).slices
                np.testing.assert_array_equal(reader.read(name, window), bands[name][rows, columns])


def test_a_zip_need_not_be_called_so(made, tmp_path):
    packed = zip_safe(made["L1C", "new"])
    assert open_safe(str(packed.rename(tmp_path / "download"))).level == "L1C"


@pytest.mark.parametrize("platform", ["Sentinel-2A", "Sentinel-2B", "Sentinel-2C"])
def test_platforms(bands, tmp_path, platform):
    safe = make_safe(tmp_path, {"B02": bands["B02"]}, platform=platform)
    product = open_safe(str(safe))
    assert product.platform == platform.lower()
    assert product.id.startswith(f"S2{platform[-1]}_MSIL1C_")


# Old products of several granules


@pytest.fixture
def two_granules(made, tmp_path):
    """An L1C product of before December 2016 with a second granule, T31TDJ."""
    original = made["L1C", "old"]
    safe = shutil.copytree(original, tmp_path / original.name)
    first = next((safe / "GRANULE").iterdir())
    second = first.with_name(first.name.replace("31TCJ", "31TDJ"))
    shutil.copytree(first, second)
    for path in [*second.glob("*.xml"), *second.rglob("*.jp2")]:
        path.rename(path.with_name(path.name.replace("31TCJ", "31TDJ")))
    path = metadata_of(safe)
    text = path.read_text()
    start, end = text.index("<Granules"), text.index("</Granule_List>")
    again = text[start:end].replace("31TCJ", "31TDJ")
    path.write_text(text[:end] + again + text[end:])
    return safe


def test_of_several_granules_one_must_be_given(two_granules, bands):
    message = refused(NotAProductError, two_granules)
    granules = sorted((two_granules / "GRANULE").iterdir())
    assert all(granule.name in message for granule in granules)
    assert "give the granule's folder" in message
    for granule, tile in zip(granules, ["31TCJ", "31TDJ"], strict=True):
        product = open_safe(str(granule))
        assert product.tile == tile
        assert product.id == granule.name
        assert all(granule.name in file.path for file in product.bands.values())
        assert product.properties["view:sun_azimuth"] == 152.25
        assert_same(pixels(product), bands)


def test_the_only_granule_that_was_downloaded_is_taken(two_granules):
    first, second = sorted((two_granules / "GRANULE").iterdir())
    shutil.rmtree(first)
    product = open_safe(str(two_granules))
    assert (product.tile, product.id) == ("31TDJ", second.name)


def test_a_granule_that_is_not_of_the_product(two_granules):
    stranger = two_granules / "GRANULE" / "S2A_OPER_MSI_L1C_TL_EPA__T31TEJ"
    stranger.mkdir()
    assert "T31TCJ" in refused(NotAProductError, stranger)


# Radiometry


def test_offsets_belong_to_their_bands(bands, tmp_path):
    offsets = {name: -1000 - 10 * band.band_id for name, band in ALL_BANDS.items()}
    product = open_safe(str(make_safe(tmp_path, bands, offset_dn=offsets)))
    found = {name: file.radiometry.offset_dn for name, file in product.bands.items()}
    assert found == offsets
    assert [found[name] for name in ("B8A", "B09", "B11", "B12")] == [-1080, -1090, -1110, -1120]
    assert product.bands["B12"].radiometry.offset == pytest.approx(-0.112)
    assert product.offset_reason.startswith("RADIO_ADD_OFFSET by band in MTD_MSIL1C.xml: B01 -1000")
    assert "B8A -1080" in product.offset_reason


def test_a_band_without_an_offset_has_none(bands, tmp_path):
    product = open_safe(str(make_safe(tmp_path, bands, offset_dn={"B02": -1000})))
    assert product.bands["B02"].radiometry.offset_dn == -1000
    assert product.bands["B03"].radiometry.offset_dn == 0
    assert "B02 -1000, B03 0" in product.offset_reason


@pytest.mark.parametrize(
    ("level", "baseline", "offset_dn", "dn", "reason"),
    [
        ("L1C", "02.04", None, 0, "no offset in MTD_MSIL1C.xml (baseline 02.04)"),
        ("L1C", "03.01", None, 0, "no offset in MTD_MSIL1C.xml (baseline 03.01)"),
        ("L1C", "04.00", -1000, -1000, "RADIO_ADD_OFFSET -1000 in MTD_MSIL1C.xml"),
        ("L1C", "05.00", 0, 0, "RADIO_ADD_OFFSET 0 in MTD_MSIL1C.xml"),
        ("L2A", "02.14", None, 0, "no offset in MTD_MSIL2A.xml (baseline 02.14)"),
        ("L2A", "05.11", -1000, -1000, "BOA_ADD_OFFSET -1000 in MTD_MSIL2A.xml"),
    ],
)
def test_offset_by_baseline(bands, tmp_path, level, baseline, offset_dn, dn, reason):
    few = {"B02": bands["B02"]}
    safe = make_safe(tmp_path, few, level=level, baseline=baseline, offset_dn=offset_dn)
    product = open_safe(str(safe))
    assert product.baseline == baseline
    assert product.bands["B02"].radiometry.offset_dn == dn
    assert product.bands["B02"].radiometry.scale == pytest.approx(1e-4)
    assert product.offset_reason == reason


@pytest.mark.parametrize("offset", [0, -1000, 250.0])
def test_the_users_offset_wins(made, offset):
    product = open_safe(str(made["L1C", "new"]), offset)
    assert {file.radiometry.offset_dn for file in product.bands.values()} == {offset}
    assert product.offset_reason == f"given by the user: {offset:g} DN"


def test_quantification_and_special_values(l1c):
    path = l1c / "MTD_MSIL1C.xml"
    edit(path, ">10000</QUANTIFICATION_VALUE>", ">5000</QUANTIFICATION_VALUE>")
    edit(path, "<SPECIAL_VALUE_INDEX>0<", "<SPECIAL_VALUE_INDEX>3<")
    edit(path, "<SPECIAL_VALUE_INDEX>65535<", "<SPECIAL_VALUE_INDEX>32767<")
    radiometry = open_safe(str(l1c)).bands["B02"].radiometry
    assert radiometry.scale == pytest.approx(2e-4)
    assert radiometry.offset == pytest.approx(-0.2)
    assert radiometry.offset_dn == -1000
    assert (radiometry.nodata, radiometry.saturated) == (3, 32767)


# What is missing or damaged


@pytest.mark.parametrize("packed", [False, True])
def test_a_missing_band_is_named_with_its_place(l1c, packed):
    next(l1c.rglob("*_B05.jp2")).unlink()
    source = zip_safe(l1c) if packed else l1c
    product = open_safe(str(source))
    assert "B05" not in product.bands
    assert list(product.missing) == ["B05"]
    with pytest.raises(MissingBandError) as caught:
        product.band_files(["B04", "B05"])
    place = "GRANULE/L1C_T31TCJ_A042587_20230817T105031/IMG_DATA/T31TCJ_20230817T105031_B05.jp2"
    message = f"{l1c.stem}: band B05 is missing: searched for {place} in {source}"
    assert str(caught.value) == message


def test_a_band_that_the_metadata_do_not_list(l1c):
    path = l1c / "MTD_MSIL1C.xml"
    edit(path, "_B05</IMAGE_FILE>", "_X05</IMAGE_FILE>")
    missing = open_safe(str(l1c)).missing
    assert missing == {"B05": f"MTD_MSIL1C.xml in {l1c} does not list it"}


@pytest.mark.parametrize("folder", ["GRANULE", "GRANULE/*/IMG_DATA"])
def test_metadata_without_images(l1c, folder):
    shutil.rmtree(next(l1c.glob(folder)))
    message = refused(MissingBandError, l1c)
    assert "contains metadata but no band files; searched for GRANULE/L1C_T31TCJ" in message
    assert message.endswith("download the complete product")


def test_names_in_other_cases(l1c, bands):
    (l1c / "MTD_MSIL1C.xml").rename(l1c / "MTD_MSIl1c.xml")
    path = next(l1c.rglob("*_B05.jp2"))
    path.rename(path.with_suffix(".JP2"))
    for source in (l1c, zip_safe(l1c)):
        assert_same(pixels(open_safe(str(source))), bands)


def test_a_renamed_granule_folder(l1c, bands):
    granule = next((l1c / "GRANULE").iterdir())
    granule.rename(granule.with_name("granule"))
    product = open_safe(str(l1c))
    assert "view:sun_azimuth" in product.properties
    assert_same(pixels(product), bands)


def test_a_product_in_a_folder_called_granule(l1c, tmp_path):
    (tmp_path / "GRANULE").mkdir()
    moved = l1c.rename(tmp_path / "GRANULE" / l1c.name)
    assert open_safe(str(moved)).id == l1c.stem


def test_hidden_files_of_a_mac(l1c):
    for path in list(l1c.rglob("*.*")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    assert len(open_safe(str(l1c)).bands) == 12


@pytest.mark.parametrize("content", [b"", b"<a", b"<a/>"])
def test_granule_metadata_that_are_damaged(l1c, content, caplog):
    next(l1c.rglob("MTD_TL.xml")).write_bytes(content)
    product = open_safe(str(l1c))
    assert set(product.properties) == {"eo:cloud_cover", "sat:relative_orbit", "sat:orbit_state"}
    assert ("sun and view angles are unknown" in caplog.text) == (content != b"<a/>")


def manifest(path, name, digest):
    return f"""<x:XFDU xmlns:x="x"><dataObject><byteStream><fileLocation href="./{path}"/>
        <checksum checksumName="{name}">{digest}</checksum></byteStream></dataObject></x:XFDU>"""


@pytest.mark.parametrize("packed", [False, True])
def test_checksums_of_the_manifest(l1c, bands, packed):
    path = next(l1c.rglob("*_B05.jp2"))
    inner = path.relative_to(l1c).as_posix()
    for digest in (hashlib.md5(path.read_bytes()).hexdigest(), "0" * 32):
        (l1c / "manifest.safe").write_text(manifest(inner, "MD5", digest))
        product = open_safe(str(zip_safe(l1c) if packed else l1c))
        with BandReader(product, ["B05"]) as reader:
            if digest[0] == digest[-1] == "0":
                with pytest.raises(CorruptDataError, match=r"band B05: .* differs from its MD5"):
                    reader.read("B05", product.grid.window)
            else:
                found = reader.read("B05", product.grid.window)
                np.testing.assert_array_equal(found, bands["B05"])


def test_a_damaged_manifest_is_ignored_with_a_warning(l1c, caplog):
    (l1c / "manifest.safe").write_text("<")
    assert len(open_safe(str(l1c)).bands) == 12
    assert "read without their checksums" in caplog.text


def test_a_band_without_permission(l1c, monkeypatch):
    next(l1c.rglob("*_B05.jp2")).write_bytes(b"")
    monkeypatch.setattr("decametre.sentinel2.raster.os.access", lambda *_: False)
    with pytest.raises(CorruptDataError, match=r"band B05: .*; ask the owner for permission"):
        open_safe(str(l1c))


@pytest.mark.parametrize(
    "rename",
    [lambda name: name.replace("/", "\\"), lambda name: f"./{name}", lambda name: f"/{name}"],
)
def test_a_zip_with_unusual_member_names(l1c, tmp_path, rename):
    packed = tmp_path / "odd.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in filter(Path.is_file, l1c.rglob("*")):
            info = zipfile.ZipInfo("x")
            info.filename = rename(path.relative_to(l1c.parent).as_posix())
            archive.writestr(info, path.read_bytes())
    assert "members have unusual paths" in refused(NotAProductError, packed)


@pytest.mark.parametrize("name", ["a{b}c.zip", "a{b.zip", "a}b.zip"])
def test_braces_in_the_name_of_a_zip(l1c, tmp_path, name):
    packed = zip_safe(l1c).rename(tmp_path / name)
    if name == "a{b}c.zip":
        assert len(open_safe(str(packed)).bands) == 12
    else:
        assert "single brace; rename it" in refused(NotAProductError, packed)


def test_a_zip_in_a_zip(l1c, tmp_path):
    inner = zip_safe(l1c)
    packed = zip_of(tmp_path / "twice.zip", {inner.name: inner.read_bytes()})
    assert f"contains another zip ({inner.name}); unpack it" in refused(NotAProductError, packed)


def test_granule_metadata_may_be_absent(l1c):
    next(l1c.rglob("MTD_TL.xml")).unlink()
    properties = open_safe(str(l1c)).properties
    assert set(properties) == {"eo:cloud_cover", "sat:relative_orbit", "sat:orbit_state"}


def test_not_there(tmp_path):
    assert "no such file" in refused(NotAProductError, tmp_path / "nothing.SAFE")


def test_a_folder_without_metadata(tmp_path):
    assert "MTD_MSIL1C.xml" in refused(NotAProductError, tmp_path)


def test_the_folder_above_proposes_the_product(made):
    message = refused(NotAProductError, made["L1C", "new"].parent)
    assert ".SAFE" in message.partition("give")[2]


def test_two_metadata_files(l1c):
    shutil.copy(l1c / "MTD_MSIL1C.xml", l1c / "MTD_MSIL2A.xml")
    message = refused(NotAProductError, l1c)
    assert "MTD_MSIL1C.xml, MTD_MSIL2A.xml" in message
    assert open_safe(str(l1c / "MTD_MSIL1C.xml")).level == "L1C"


def test_a_zip_of_two_products(made, tmp_path):
    xml = metadata_of(made["L1C", "new"]).read_bytes()
    packed = zip_of(tmp_path / "two.zip", {f"{x}.SAFE/MTD_MSIL1C.xml": xml for x in "AB"})
    assert "A.SAFE/MTD_MSIL1C.xml, B.SAFE" in refused(NotAProductError, packed)


def test_other_xml(l1c):
    path = next(l1c.rglob("MTD_TL.xml"))
    assert "Level-1C_Tile_ID" in refused(NotAProductError, path.rename(l1c / "MTD_TL.xml"))


def test_other_files(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"\xff\xd8")
    refused(NotAProductError, path)


def test_a_zip_without_a_product(tmp_path):
    refused(NotAProductError, zip_of(tmp_path / "holiday.zip", {"photo.jpg": b"x"}))


@pytest.mark.parametrize("part", [0, 0.001, 0.3, 0.9, 0.9999])
def test_a_zip_that_is_cut_short(made, tmp_path, part):
    whole = zip_safe(made["L1C", "new"]).read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(whole[: int(len(whole) * part)])
    assert "truncated or not a zip archive" in refused(CorruptDataError, path)


def test_damaged_zips_give_one_line(made, tmp_path):
    """Whatever byte is wrong, the answer is a product or one of our errors."""
    whole = zip_safe(made["L1C", "new"]).read_bytes()
    directory = whole.index(b"PK\x01\x02")
    path = tmp_path / "damaged.zip"
    random = np.random.default_rng(3)
    refusals = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(directory, len(whole), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            open_safe(str(path))
        except DecametreError:
            refusals += 1
    assert refusals > 5


def test_a_zip_member_with_a_wrong_checksum(made, tmp_path):
    packed = zip_safe(made["L1C", "new"], zipfile.ZIP_STORED)
    damaged = packed.read_bytes().replace(b"<SPACECRAFT_NAME>S", b"<SPACECRAFT_NAME>T")
    path = tmp_path / "damaged.zip"
    path.write_bytes(damaged)
    assert "MTD_MSIL1C.xml" in refused(CorruptDataError, path)


def test_metadata_that_may_not_be_read(l1c, monkeypatch):
    def denied(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in refused(NotAProductError, l1c)


@pytest.mark.parametrize("keep", [0, 50, 300])
def test_a_band_file_that_cannot_be_opened(l1c, keep):
    path = next(l1c.rglob("*_B8A.jp2"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptDataError, match="B8A"):
        open_safe(str(l1c))


def test_a_band_on_another_grid(l1c, bands):
    other = make_safe(l1c.parent, {"B05": bands["B05"]}, left=300020, tile="31TDJ")
    shutil.copy(next(other.rglob("*_B05.jp2")), next(l1c.rglob("*_B05.jp2")))
    with pytest.raises(GridError, match="B05"):
        open_safe(str(l1c))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.999])
def test_a_truncated_band_is_never_read_as_if_it_were_whole(tmp_path, part, packed):
    """GDAL's threads would leave what they cannot decode as it was in memory, and say nothing."""
    image = np.random.default_rng(1).integers(1, 9000, (216, 216), "uint16")
    safe = make_safe(tmp_path, {"B01": image})
    path = next(safe.rglob("*_B01.jp2"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    product = open_safe(str(zip_safe(safe) if packed else safe))
    with BandReader(product, ["B01"]) as reader, pytest.raises(CorruptDataError, match="B01"):
        reader.read("B01", product.grid.window)


# What is hostile


def test_a_path_out_of_the_product_is_refused(l1c):
    secret = l1c.parent / "secret_B02.jp2"
    shutil.copy(next(l1c.rglob("*_B02.jp2")), secret)
    path = l1c / "MTD_MSIL1C.xml"
    text = path.read_text()
    start = text.index("GRANULE/")
    for hostile in ("../secret_B02", str(secret), "GRANULE/../../secret_B02"):
        path.write_text(text[:start] + hostile + text[text.index("</IMAGE_FILE>") :])
        message = refused(NotAProductError, l1c)
        assert repr(hostile) in message
        refused(NotAProductError, zip_safe(l1c))


def test_entities_are_refused(l1c):
    path = l1c / "MTD_MSIL1C.xml"
    edit(path, "?>", '?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>')
    assert path.name in refused(NotAProductError, l1c)
    refused(NotAProductError, zip_safe(l1c))


def test_granule_metadata_with_entities_are_not_read(l1c, caplog):
    path = next(l1c.rglob("MTD_TL.xml"))
    edit(path, "?>", '?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>')
    assert "view:sun_azimuth" not in open_safe(str(l1c)).properties
    assert "document type definition" in caplog.text


@pytest.mark.parametrize(
    "hostile",
    ["../X.SAFE/", "X.SAFE/../", "..\\X.SAFE\\", "a/../"],
)
def test_hostile_member_names_are_not_seen(made, tmp_path, hostile):
    xml = metadata_of(made["L1C", "new"]).read_bytes()
    packed = zip_of(tmp_path / "hostile.zip", {f"{hostile}MTD_MSIL1C.xml": xml})
    assert "no MTD_MSIL1C.xml" in refused(NotAProductError, packed)


def test_a_hostile_member_beside_the_product_changes_nothing(made):
    packed = zip_safe(made["L1C", "new"])
    xml = metadata_of(made["L1C", "new"]).read_bytes()
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../MTD_MSIL1C.xml", xml)
        archive.writestr("/MTD_MSIL2A.xml", xml)
    assert open_safe(str(packed)).id == made["L1C", "new"].stem


def test_metadata_of_absurd_size_are_not_unpacked(tmp_path):
    packed = zip_of(tmp_path / "bomb.zip", {"X.SAFE/MTD_MSIL1C.xml": b" " * (33 << 20)})
    assert packed.stat().st_size < 1e5
    assert "larger than 32 MB" in refused(NotAProductError, packed)


def test_a_band_file_that_points_elsewhere_is_not_followed(l1c):
    """GDAL recognises a VRT by its content, and a VRT reaches any file and any host."""
    secret = l1c.parent / "secret.tif"
    path = next(l1c.rglob("*_B02.jp2"))
    with rasterio.open(path) as dataset:
        profile = {**dataset.profile, "driver": "GTiff"}
    with rasterio.open(secret, "w", **profile) as dataset:
        dataset.write(np.full((1, ROWS, COLUMNS), 4242, "uint16"))
    path.write_text(
        f"""<VRTDataset rasterXSize="{COLUMNS}" rasterYSize="{ROWS}"><SRS>EPSG:32631</SRS>
        <GeoTransform>300000, 10, 0, 4900020, 0, -10</GeoTransform>
        <VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
        <SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand>
        </SimpleSource></VRTRasterBand></VRTDataset>"""
    )
    with pytest.raises(CorruptDataError, match="B02"):
        open_safe(str(l1c))
