"""Names of BigEarthNet patches, checked with the coordinates of real patches."""

import json
from datetime import UTC, datetime

import pytest
import rasterio

from decametre.errors import NotAProductError
from decametre.landcover.bigearthnet.names import (
    Acquisition,
    corner_of,
    parse_acquisition,
    split_name,
    tile_corner,
)
from tests.landcover.bigearthnet.archives import DATA
from tests.landcover.extraction.scenes import product_of


@pytest.mark.parametrize(
    ("stem", "platform", "time", "tile"),
    [
        ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", "S2A", (10, 10, 31), "33UUP"),
        ("S2A_MSIL2A_20170617T113321", "S2A", (11, 33, 21), ""),
        ("S2A_MSIL2A_20180510T94033", "S2A", (9, 40, 33), ""),
        (
            "S2B_MSIL1C_20180421T114349_N0206_R123_T29UPU_20180421T134219.SAFE",
            "S2B",
            (11, 43, 49),
            "29UPU",
        ),
    ],
)
def test_acquisitions(stem, platform, time, tile):
    found = parse_acquisition(stem)
    assert (found.platform, found.tile) == (platform, tile)
    assert (found.sensed.hour, found.sensed.minute, found.sensed.second) == time


def test_a_second_that_v1_made_up():
    # S2B_MSIL2A_20180204T94160_..._... is a name of BigEarthNet v1.
    assert parse_acquisition("S2B_MSIL2A_20180204T94160").sensed == datetime(
        2018, 2, 4, 9, 42, tzinfo=UTC
    )


@pytest.mark.parametrize("stem", ["", "S2A", "T33UUP", "S2A_MSIL2A_2017_N9999_R022_T33UUP"])
def test_other_names_are_none(stem):
    assert parse_acquisition(stem) is None


def test_numbers_are_column_and_row():
    assert split_name("S2A_MSIL2A_20170617T113321_4_55") == ("S2A_MSIL2A_20170617T113321", 4, 55)
    assert split_name("S2A_MSIL2A_20170617T113321") is None


@pytest.mark.parametrize(
    ("tile", "top", "corner"),
    [
        # From the coordinates in the labels of eleven real patches, and two of v2.
        ("29UPU", 5_800_000, (600000, 5900040)),
        ("29SND", 4_310_000, (499980, 4400040)),
        ("35WPN", 7_200_000, (600000, 7300020)),
        ("34TEQ", 4_950_000, (499980, 5000040)),
        ("35VNH", 6_743_640, (499980, 6800040)),
        ("35VPK", 6_965_220, (600000, 7000020)),
        ("35VLC", 6_232_800, (300000, 6300000)),
        ("34TEP", 4_883_220, (499980, 4900020)),
        ("33UUP", 5_348_400, (300000, 5400000)),
    ],
)
def test_corners_of_tiles(tile, top, corner):
    assert corner_of(tile, top) == corner


def test_real_patches_lie_where_their_names_say():
    checked = 0
    for path in DATA.glob("v1/*/*_labels_metadata.json"):
        stated = json.loads(path.read_text())
        tile = parse_acquisition(stated["tile_source"].removesuffix(".SAFE")).tile
        _, column, row = split_name(path.parent.name)
        left, top = corner_of(tile, stated["coordinates"]["uly"])
        assert left + 1200 * column == stated["coordinates"]["ulx"]
        assert top - 1200 * row == stated["coordinates"]["uly"]
        checked += 1
    for path in DATA.glob("v2/**/*_B02.tif"):
        stem, column, row = split_name(path.parent.name)
        with rasterio.open(path) as patch:
            left, top = corner_of(parse_acquisition(stem).tile, patch.transform.f)
            assert (left + 1200 * column, top - 1200 * row) == (
                patch.transform.c,
                patch.transform.f,
            )
        checked += 1
    assert checked >= 3


def test_a_product_is_known_by_platform_tile_and_time():
    product = product_of(platform="sentinel-2a", datetime="2017-06-13T10:10:31.026Z", tile="33UUP")
    wanted = parse_acquisition("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP")
    assert wanted.is_of(product)
    # A granule is sensed minutes after its datatake began.
    assert wanted.is_of(product_of(datetime="2017-06-13T10:14:00+00:00", tile="33UUP"))
    for changed in (
        {"platform": "sentinel-2b"},
        {"tile": "34VER"},
        {"datetime": "2017-06-16T10:10:31Z"},
        {"datetime": "2017-06-13T11:51:00Z"},  # the next orbit
        {"datetime": None},
    ):
        facts = {"datetime": "2017-06-13T10:10:31Z", "tile": "33UUP"} | changed
        assert not wanted.is_of(product_of(**facts)), changed


def test_names_of_v1_fit_any_tile():
    wanted = Acquisition("S2A", datetime(2017, 6, 13, 10, 10, 32, tzinfo=UTC), "")
    assert wanted.is_of(product_of(datetime="2017-06-13T10:10:31Z", tile="34VER"))


def test_a_product_without_a_tile():
    with pytest.raises(NotAProductError, match="does not state its MGRS tile"):
        tile_corner(product_of(tile=None))
