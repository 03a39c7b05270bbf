"""Searches of a STAC API that runs on loopback."""

import json
import logging
import socket
from pathlib import Path

import pytest

import decametre
from decametre.errors import FleetError, OptionError, UnknownNameError
from decametre.fleet.inputs import search as module
from decametre.fleet.inputs.options import SearchOptions
from decametre.fleet.inputs.search import search
from tests.fleet.servers import derived_items, file_server, stac_api, unused_address

EVERYWHERE = (-180, -90, 180, 90)


@pytest.fixture(scope="module")
def items(sample_item):
    return derived_items(sample_item)


@pytest.fixture(scope="module")
def api(items):
    """An API with the query extension and a second collection."""
    others = [items[0] | {"id": "LC08_1", "collection": "landsat-c2-l2"}]
    with stac_api(items + others, ["landsat-c2-l2", "sentinel-2-l2a"]) as (url, searches):
        yield url, searches


def find(url, folder, **terms):
    return search(SearchOptions(search=url, **terms), folder)


def numbers(entries):
    return [int(entry.name.rpartition("_")[2]) for entry in entries]


def test_level_2a_collection_is_searched_by_default(api, tmp_path):
    url, _ = api
    entries = find(url, tmp_path / "items", bbox=EVERYWHERE)
    assert [entry.name for entry in entries] == [f"T33UUB_{number}" for number in range(5)]
    assert entries[0].source == f"{url}/collections/sentinel-2-l2a/items/T33UUB_0"
    assert not (tmp_path / "items").exists()


def test_found_product_can_be_opened(api, tmp_path, sample, sample_item):
    url, _ = api
    [entry] = find(url, tmp_path, datetime="2023-05")
    product = decametre.open(entry.source)
    assert product.grid == sample.grid
    assert list(product.bands) == list(sample.bands)
    bands = Path(sample_item).parent.glob("B*.tif")
    assert entry.size == sum(band.stat().st_size for band in bands)


@pytest.mark.parametrize(
    ("datetime", "expected"),
    [
        ("2023-06", [1]),
        ("2023-06-15", [1]),
        ("2023-06/2023-08", [1, 2, 3]),
        ("2023-08-01/..", [3, 4]),
        ("../2023-06-15T09:59:59Z", [0]),
        ("2023-05-15T10:00:00Z/2023-05-15T10:00:00Z", [0]),
    ],
)
def test_search_by_time(api, tmp_path, datetime, expected):
    assert numbers(find(api[0], tmp_path, datetime=datetime)) == expected


def test_search_by_box(api, tmp_path):
    assert numbers(find(api[0], tmp_path, bbox=(13.5, 55, 15, 56))) == [2, 3]


def test_cloud_cover_is_filtered_by_a_server_with_the_query_extension(api, tmp_path):
    url, searches = api
    assert numbers(find(url, tmp_path, bbox=EVERYWHERE, cloud_cover=40)) == [0, 1, 2]
    assert searches[-1]["query"] == {"eo:cloud_cover": {"lte": 40}}


def test_cloud_cover_is_filtered_here_without_the_query_extension(items, tmp_path, caplog):
    with stac_api(items, ["sentinel-2-l2a"], claims_query=False) as (url, searches):
        assert numbers(find(url, tmp_path, bbox=EVERYWHERE, cloud_cover=20)) == [0, 1]
    assert "query" not in searches[-1]
    assert "skipped 1 items that do not state their cloud cover" in caplog.text


def test_cloud_cover_is_checked_if_the_server_ignores_the_query(items, tmp_path):
    with stac_api(items, ["sentinel-2-l2a"], heeds_query=False) as (url, searches):
        assert numbers(find(url, tmp_path, bbox=EVERYWHERE, cloud_cover=0)) == [0]
    assert "query" not in searches[-1]


def test_all_pages_are_requested(api, tmp_path, monkeypatch):
    url, searches = api
    before = len(searches)
    monkeypatch.setattr(module, "PAGE", 2)
    assert numbers(find(url, tmp_path, bbox=EVERYWHERE)) == [0, 1, 2, 3, 4]
    assert len(searches) == before + 3


# Items without an address -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "self_link",
    [lambda address: None, lambda address: f"http://stac-internal:8080/{address[-8:]}"],
    ids=["none", "of another server"],
)
def test_items_without_a_usable_address_are_saved(items, tmp_path, self_link, sample):
    with stac_api(items, ["sentinel-2-l2a"], self_link=self_link) as (url, _):
        entries = find(url, tmp_path / "items", datetime="2023-05/2023-06")
    assert [entry.source for entry in entries] == [
        str(tmp_path / "items" / f"T33UUB_{number}.json") for number in range(2)
    ]
    assert sorted(path.name for path in (tmp_path / "items").iterdir()) == [
        "T33UUB_0.json",
        "T33UUB_1.json",
    ]
    assert decametre.open(entries[1].source).grid == sample.grid  # the server has stopped


# Collections ------------------------------------------------------------------------------------


def test_collection_id_in_capitals(sample_item, tmp_path):
    with stac_api(derived_items(sample_item, "SENTINEL-2"), ["SENTINEL-2"]) as (url, searches):
        assert len(find(url, tmp_path, datetime="2023-05")) == 1
    assert searches[-1]["collections"] == ["SENTINEL-2"]


def test_search_of_a_given_collection(api, tmp_path):
    [entry] = find(api[0], tmp_path, bbox=EVERYWHERE, collections=("landsat-c2-l2",))
    assert entry.name == "LC08_1"


def test_unknown_collection_is_an_error(api, tmp_path):
    with pytest.raises(UnknownNameError, match="'sentinel-2-l2b'; did you mean sentinel-2-l2a"):
        find(api[0], tmp_path, bbox=EVERYWHERE, collections=("sentinel-2-l2b",))


def test_api_without_a_known_collection(items, tmp_path):
    with (
        stac_api(items, ["landsat-c2-l2", "modis"]) as (url, _),
        pytest.raises(FleetError, match="choose one by --collection: landsat-c2-l2, modis"),
    ):
        find(url, tmp_path, bbox=EVERYWHERE)


# Errors -----------------------------------------------------------------------------------------


def test_search_without_results_is_an_error(api, tmp_path):
    expected = r"no item found \(collection sentinel-2-l2a, bbox 11,55,12,56, datetime 2019-.*, "
    with pytest.raises(FleetError, match=expected + "cloud cover at most 5 %"):
        find(api[0], tmp_path, bbox=(11, 55, 12, 56), datetime="2019", cloud_cover=5)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"datetime": "last summer"}, "datetime 'last summer': .*give a day"),
        ({"datetime": "2023-13"}, "datetime '2023-13': .*give a day"),
        ({"datetime": "2023/2024/2025"}, "datetime '2023/2024/2025': .*give a day"),
        ({"datetime": "../.."}, r"datetime '\.\./\.\.': .*give a day"),
        ({"datetime": ""}, "datetime '': .*give a day"),
        ({"datetime": "2023-08/2023-06"}, "ends before it starts"),
    ],
)
def test_invalid_time_is_an_error_before_any_request(tmp_path, terms, expected):
    with pytest.raises(FleetError, match=expected):
        find(unused_address(), tmp_path, **terms)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, "`search` needs `bbox` or `datetime`"),
        ({"bbox": (1, 2, 3)}, "bbox"),
        ({"bbox": (1, 2, 3, float("nan"))}, "bbox"),
        ({"bbox": (10, 50, 11, 45)}, "10,50,11,45 is no box; .* south no more than north"),
        ({"bbox": (300000, 5e6, 400000, 6e6)}, "from -180 to 180 degrees"),
        ({"datetime": "2023", "cloud_cover": 101}, "cloud_cover"),
    ],
)
def test_invalid_search_options(terms, expected):
    with pytest.raises(OptionError, match=expected):
        SearchOptions(search="http://localhost", **terms)


def test_box_across_the_antimeridian_is_valid(api, tmp_path):
    with pytest.raises(FleetError, match="no item found"):
        find(api[0], tmp_path, bbox=(179, -20, -179, -10))


def test_unreachable_server(tmp_path):
    url = unused_address()
    with pytest.raises(FleetError) as error:
        find(url, tmp_path, datetime="2023")
    assert str(error.value) == f"{url}: cannot be reached ([Errno 111] Connection refused)"


def test_silent_server(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", (10.0, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(FleetError, match=r"cannot be reached \(Read timed out"):
            find(url, tmp_path, datetime="2023")


def test_server_error_on_a_later_page(items, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 1)
    broken = {key: value for key, value in items[1].items() if key != "id"}  # HTTP 500
    with (
        stac_api([items[0], broken], ["sentinel-2-l2a"]) as (url, searches),
        pytest.raises(FleetError, match="the server answered HTTP 500"),
    ):
        find(url, tmp_path, bbox=EVERYWHERE)
    assert len(searches) == 2


def test_path_is_not_an_api(tmp_path):
    with pytest.raises(FleetError, match="not an http"):
        find("catalog.json", tmp_path, datetime="2023")


def test_url_that_does_not_exist(api, tmp_path):
    with pytest.raises(FleetError, match="HTTP 404"):
        find(f"{api[0]}/nothing", tmp_path, datetime="2023")


def test_url_of_an_item(api, tmp_path):
    with pytest.raises(FleetError, match=r"not that of a STAC API .* landing page"):
        find(f"{api[0]}/collections/sentinel-2-l2a/items/T33UUB_0", tmp_path, datetime="2023")


def test_servers_without_an_api(tmp_path, caplog):
    (tmp_path / "index.html").write_text("<html>Welcome</html>")
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c"}
    (tmp_path / "catalog.json").write_text(json.dumps(catalog | {"links": []}))
    with file_server(tmp_path) as url:
        with pytest.raises(FleetError, match="the response is not that of a STAC API"):
            find(url, tmp_path, datetime="2023")
        with pytest.raises(FleetError, match="cannot be searched; give it as INPUT"):
            find(f"{url}/catalog.json", tmp_path, datetime="2023")
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
