import shutil
import zipfile
from pathlib import Path

import pytest

from decametre.errors import DecametreError, NotAProductError, RadiometryError
from decametre.sentinel2 import opening
from decametre.sentinel2.opening import ACCEPTED, open_product, parse_offset

from .stac_items import earth_search_item, own_item, serve, write_bands, write_item


@pytest.fixture
def asked(monkeypatch):
    """Which reader was asked for what, instead of reading."""
    calls = []
    for name in ("open_safe", "open_stac"):
        monkeypatch.setattr(
            opening, name, lambda source, offset, name=name: calls.append((name, source, offset))
        )
    return calls


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def fails(source) -> str:
    """The one-line message with which opening fails."""
    with pytest.raises(NotAProductError) as caught:
        open_product(source)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{source}: ")
    return message


# Which reader -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "named", "reader"),
    [
        ("S2A_X.SAFE/MTD_MSIL2A.xml", "S2A_X.SAFE", "open_safe"),
        ("S2A_X.SAFE/MTD_MSIL2A.xml", "S2A_X.SAFE/MTD_MSIL2A.xml", "open_safe"),
        ("renamed/MTD_MSIL1C.xml", "renamed", "open_safe"),
        ("S2A_X.SAFE/incomplete", "S2A_X.SAFE", "open_safe"),
        ("old/S2A_OPER_MTD_SAFL1C_PDMC_2015.xml", "old", "open_safe"),
        (
            "old/S2A_OPER_MTD_SAFL1C_PDMC_2015.xml",
            "old/S2A_OPER_MTD_SAFL1C_PDMC_2015.xml",
            "open_safe",
        ),
        ("S2A_X.SAFE/GRANULE/L2A_T31TCJ/x", "S2A_X.SAFE/GRANULE/L2A_T31TCJ", "open_safe"),
        ("S2A_X.SAFE.zip", "S2A_X.SAFE.zip", "open_safe"),
        ("S2A_X.ZIP", "S2A_X.ZIP", "open_safe"),
        # decametre's own item beside a SAFE product's metadata does not hide the product.
        ("both/MTD_MSIL2A.xml", "both", "open_safe"),
        ("item.json", "item.json", "open_stac"),
        ("S2A_X.geojson", "S2A_X.geojson", "open_stac"),
    ],
)
def test_the_reader_by_form(tmp_path, asked, file, named, reader):
    touched(tmp_path / file)
    if named == "both":
        touched(tmp_path / "both" / "item.json")
    open_product(tmp_path / named, "none")
    assert asked == [(reader, str(tmp_path / named), 0.0)]


def test_a_folder_with_an_item(tmp_path, asked):
    touched(tmp_path / "scene" / "item.json")
    open_product(str(tmp_path / "scene"))
    assert asked == [("open_stac", str(tmp_path / "scene" / "item.json"), None)]


def test_a_zip_by_its_content(tmp_path, asked):
    path = tmp_path / "download"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("S2A_X.SAFE/MTD_MSIL2A.xml", "")
    open_product(path)
    assert asked == [("open_safe", str(path), None)]


@pytest.mark.parametrize("url", ["http://h/items/x", "HTTPS://h/items/x?y=z", "https://h/a.zip"])
def test_a_web_url_is_an_item(asked, url):
    open_product(url, -1000)
    assert asked == [("open_stac", url, -1000.0)]


def test_a_file_url(tmp_path, asked):
    for path in (
        touched(tmp_path / "a b" / "item.json"),
        touched(tmp_path / "X.SAFE" / "y").parent,
    ):
        open_product(path.as_uri())
    assert asked == [
        ("open_stac", str(tmp_path / "a b" / "item.json"), None),
        ("open_safe", str(tmp_path / "X.SAFE"), None),
    ]


def test_for_real(tmp_path):
    write_bands(tmp_path)
    write_item(tmp_path, own_item(offset=-0.1))
    assert open_product(tmp_path).bands["B02"].radiometry.offset_dn == -1000
    assert open_product(str(tmp_path), "none").bands["B02"].radiometry.offset_dn == 0
    product = open_product((tmp_path / "item.json").as_uri(), "-500")
    assert product.bands["B02"].radiometry.offset_dn == -500
    assert product.offset_reason == "given by the user: -500 DN"


def test_for_real_over_http(tmp_path):
    write_bands(tmp_path)
    write_item(tmp_path, earth_search_item())
    with serve(tmp_path) as server:
        assert len(open_product(f"{server.url}/item.json").bands) == 12


# What is no product -----------------------------------------------------------------------------


def test_nothing_there(tmp_path):
    source = str(tmp_path / "scene.json")
    assert fails(source) == f"{source}: no such file or folder"


def test_nothing_there_but_something_near(tmp_path):
    touched(tmp_path / "S2A_MSIL2A_20230817_T31TCJ.SAFE.zip")
    touched(tmp_path / "notes.txt")
    message = fails(str(tmp_path / "S2A_MSIL2A_20230817_T31TCJ.zip"))
    assert message.endswith(f"did you mean {tmp_path / 'S2A_MSIL2A_20230817_T31TCJ.SAFE.zip'}?")


def test_not_even_the_folder(tmp_path):
    source = str(tmp_path / "nowhere" / "scene.json")
    assert fails(source).endswith(f"no such file or folder, nor a folder {tmp_path / 'nowhere'}")


@pytest.mark.parametrize("name", ["B02.tif", "inspire.xml", "notes.txt", "empty"])
def test_some_other_file(tmp_path, name):
    assert fails(str(touched(tmp_path / name))).endswith(f"give {ACCEPTED}")


def test_some_other_folder(tmp_path):
    touched(tmp_path / "photos" / "a.jpg")
    assert fails(str(tmp_path / "photos")).endswith(f"give {ACCEPTED}")


def test_a_folder_around_a_product(tmp_path):
    touched(tmp_path / "unpacked" / "S2A_X.SAFE" / "MTD_MSIL2A.xml")
    product = tmp_path / "unpacked" / "S2A_X.SAFE"
    assert fails(str(tmp_path / "unpacked")).endswith(f"give {product}")


@pytest.mark.parametrize("url", ["s3://bucket/item.json", "ftp://host/item.json"])
def test_other_urls(url):
    assert fails(url) == f"{url}: only file, http and https URLs can be opened"


def test_a_link_to_nowhere(tmp_path):
    (tmp_path / "item.json").symlink_to(tmp_path / "gone")
    assert "no such file or folder" in fails(str(tmp_path / "item.json"))


def test_an_empty_text():
    with pytest.raises(DecametreError):
        open_product("")


def test_the_readers_errors_come_through(tmp_path):
    write_item(tmp_path / "scene", own_item())
    with pytest.raises(DecametreError, match="searched for"):
        open_product(tmp_path / "scene")
    shutil.rmtree(tmp_path / "scene")
    with pytest.raises(DecametreError, match=r"S2A_X\.zip is truncated"):
        open_product(touched(tmp_path / "S2A_X.zip"))


# Offset -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("auto", None),
        ("none", 0.0),
        ("-1000", -1000.0),
        ("0", 0.0),
        (-1000, -1000.0),
        (250.5, 250.5),
        (0, 0.0),
    ],
)
def test_offset(given, wanted):
    assert parse_offset(given) == wanted


@pytest.mark.parametrize("junk", ["", "yes", "-1000 DN", "1,000", "nan", "inf", float("nan")])
def test_offset_junk(junk):
    with pytest.raises(RadiometryError, match="give auto, none, or a number of DN such as -1000"):
        parse_offset(junk)


@pytest.mark.parametrize("reflectance", ["-0.1", -0.1, 0.05])
def test_offset_in_reflectance_is_taken_for_the_mistake_it_is(reflectance):
    with pytest.raises(RadiometryError, match="give DN, not reflectance"):
        parse_offset(reflectance)


def test_offset_is_checked_before_anything_is_read(asked):
    with pytest.raises(RadiometryError):
        open_product("http://h/item.json", "x")
    assert asked == []
