import os
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio

from decametre.errors import (
    CorruptDataError,
    DecametreError,
    GridError,
    MissingBandError,
    NotAProductError,
    RadiometryError,
)
from decametre.sentinel2 import documents, hrefs, stac
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.stac import open_stac

from .stac_items import (
    CRS,
    LEFT,
    SIDE,
    TOP,
    cdse_item,
    earth_search_item,
    earth_search_v0_item,
    own_item,
    planetary_computer_item,
    serve,
    write_band,
    write_bands,
    write_cdse_bands,
    write_item,
)


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch):
    for key in list(os.environ):
        if key.startswith("AWS_") or key.lower().endswith("_proxy"):
            monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CPL_AWS_CREDENTIALS_FILE", "/nowhere")


def saved(folder: Path, item, bands=BAND_NAMES) -> str:
    write_bands(folder, bands)
    return write_item(folder, item)


def offsets(product):
    return {name: file.radiometry.offset_dn for name, file in product.bands.items()}


def everywhere(dn):
    return dict.fromkeys(BAND_NAMES, dn)


def fails(kind: type[DecametreError], source: str) -> str:
    """The one-line message with which opening fails."""
    with pytest.raises(kind) as caught:
        open_stac(source)
    message = str(caught.value)
    assert "\n" not in message
    assert source in message
    return message


def first_pixels(product):
    """The first pixel of every band, through the real reader."""
    with BandReader(product, product.bands) as reader:
        return {name: int(reader.read(name, Window(0, 0, 6, 6))[0, 0]) for name in product.bands}


EVERY_BAND_ITSELF = {name: 1000 + band.band_id for name, band in ALL_BANDS.items()}


# Catalogues -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, -0.1])
def test_our_own_items(tmp_path, offset):
    product = open_stac(saved(tmp_path, own_item(offset=offset)))
    assert list(product.bands) == list(BAND_NAMES)
    assert first_pixels(product) == EVERY_BAND_ITSELF
    assert offsets(product) == everywhere(round(offset * 1e4))
    assert product.offset_reason == f"raster:offset {offset:g} of asset B01"
    assert (product.id, product.level, product.tile) == ("dsen2_T33UUB", "L1C", "33UUB")
    assert (product.platform, product.baseline) == ("sentinel-2a", None)
    assert product.datetime.startswith("2017-05-27T00:00:00")
    assert product.missing == {}
    assert (product.grid.left, product.grid.top) == (LEFT, TOP)
    assert (product.grid.width, product.grid.height) == (SIDE // 10, SIDE // 10)
    assert product.grid.crs == "EPSG:32631"


def test_earth_search(tmp_path):
    product = open_stac(saved(tmp_path, earth_search_item()))
    assert first_pixels(product) == EVERY_BAND_ITSELF
    assert offsets(product) == everywhere(0)
    assert product.offset_reason == (
        "earthsearch:boa_offset_applied is true: the DN already include it"
    )
    assert (product.level, product.baseline, product.tile) == ("L2A", "05.09", "31TCJ")
    assert product.platform == "sentinel-2a"
    assert product.properties == {
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "eo:cloud_cover": 0,
        "view:sun_azimuth": 145.6,
        "view:sun_elevation": 55.9,
    }


def test_earth_search_jpeg2000_only_where_there_is_no_cog(tmp_path):
    item = earth_search_item()
    del item["assets"]["nir08"]
    item["assets"]["nir08-jp2"]["href"] = "./jp2.tif"
    write_band(tmp_path / "jp2.tif", 20, 7)
    product = open_stac(saved(tmp_path, item))
    assert first_pixels(product) == EVERY_BAND_ITSELF | {"B8A": 7}


@pytest.mark.parametrize(
    ("baseline", "dn", "reason"),
    [
        ("04.00", -1000, "is false and processing baseline 04.00 >= 04.00: -1000 DN"),
        ("05.11", -1000, "is false and processing baseline 05.11 >= 04.00: -1000 DN"),
        # raster:bands states -0.1 all the same.
        ("03.01", 0, "is false and processing baseline 03.01 < 04.00: 0"),
        (None, -1000, "raster:offset -0.1 of asset coastal"),
    ],
)
def test_earth_search_where_the_offset_was_not_applied(tmp_path, baseline, dn, reason):
    product = open_stac(saved(tmp_path, earth_search_item(applied=False, baseline=baseline)))
    assert offsets(product) == everywhere(dn)
    assert product.offset_reason.endswith(reason)


def test_earth_search_collection_1_states_the_offset_alone(tmp_path):
    product = open_stac(saved(tmp_path, earth_search_item(applied=None)))
    assert offsets(product) == everywhere(-1000)
    assert product.offset_reason == "raster:offset -0.1 of asset coastal"


@pytest.mark.parametrize(("applied", "dn"), [(True, 0), (False, -1000), (None, -1000)])
def test_earth_search_v0(tmp_path, applied, dn):
    product = open_stac(saved(tmp_path, earth_search_v0_item(applied=applied)))
    assert first_pixels(product) == EVERY_BAND_ITSELF
    assert offsets(product) == everywhere(dn)
    assert ("sentinel:boa_offset_applied" in product.offset_reason) == (applied is not None)
    assert (product.level, product.baseline, product.tile) == ("L2A", "04.00", "05VNK")


@pytest.mark.parametrize(
    ("baseline", "dn"), [("02.12", 0), ("03.01", 0), ("04.00", -1000), ("05.09", -1000)]
)
def test_planetary_computer(tmp_path, baseline, dn):
    product = open_stac(saved(tmp_path, planetary_computer_item(baseline=baseline)))
    assert first_pixels(product) == EVERY_BAND_ITSELF
    assert offsets(product) == everywhere(dn)
    assert product.offset_reason.startswith(f"processing baseline {baseline} ")
    assert (product.level, product.baseline, product.tile) == ("L2A", baseline, "31TCJ")
    assert product.platform == "sentinel-2a"
    assert product.properties["sat:relative_orbit"] == 51


def test_copernicus_data_space_takes_each_band_at_its_native_resolution(tmp_path):
    write_cdse_bands(tmp_path)
    product = open_stac(write_item(tmp_path, cdse_item()))
    assert first_pixels(product) == EVERY_BAND_ITSELF
    assert offsets(product) == everywhere(-1000)
    assert product.offset_reason == "raster:offset -0.1 of asset B01_60m"
    assert (product.level, product.baseline, product.tile) == ("L2A", "05.09", "31TCJ")
    assert product.properties["eo:cloud_cover"] == 0
    assert product.properties["view:incidence_angle"] == 3.1


def test_an_offset_stated_against_the_baseline_counts_and_is_named(tmp_path):
    write_cdse_bands(tmp_path)
    product = open_stac(write_item(tmp_path, cdse_item(version="02.14")))
    assert offsets(product) == everywhere(-1000)
    assert product.offset_reason == (
        "raster:offset -0.1 of asset B01_60m, although processing baseline 02.14 < 04.00: 0"
    )


# Offset and scale -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0.0, -1000.0, 250.0])
def test_the_user_overrides_everything(tmp_path, given):
    product = open_stac(saved(tmp_path, earth_search_item()), given)
    assert offsets(product) == everywhere(given)
    assert product.offset_reason == f"given by the user: {given:g} DN"


def test_nothing_states_an_offset(tmp_path):
    item = planetary_computer_item()
    del item["properties"]["s2:processing_baseline"]
    del item["properties"]["s2:product_uri"]
    product = open_stac(saved(tmp_path, item))
    assert offsets(product) == everywhere(0)
    assert product.offset_reason == "no offset stated: 0"


def test_the_baseline_is_also_in_the_products_name(tmp_path):
    item = planetary_computer_item()
    del item["properties"]["s2:processing_baseline"]
    product = open_stac(saved(tmp_path, item))
    assert product.baseline == "05.09"
    assert offsets(product) == everywhere(-1000)


def test_offsets_that_differ_stay_with_their_bands(tmp_path):
    item = own_item(offset=-0.1)
    item["assets"]["B05"]["bands"][0]["raster:offset"] = -0.05
    del item["assets"]["B06"]["bands"][0]["raster:offset"]
    product = open_stac(saved(tmp_path, item))
    assert offsets(product) == everywhere(-1000) | {"B05": -500, "B06": 0}
    assert product.offset_reason.startswith("raster:offset by band: B01 -0.1, ")
    assert "B05 -0.05, B06 0" in product.offset_reason


def test_scale_and_nodata_are_read(tmp_path):
    item = earth_search_item(applied=None, stated=-0.2)
    for asset in item["assets"].values():
        for band in asset.get("raster:bands", []):
            band |= {"scale": 2e-4, "nodata": 65535}
    product = open_stac(saved(tmp_path, item))
    radiometry = product.bands["B8A"].radiometry
    assert (radiometry.scale, radiometry.offset_dn, radiometry.nodata) == (2e-4, -1000, 65535)
    np.testing.assert_allclose(radiometry.to_reflectance(np.array([2000])), 0.2, rtol=1e-6)
    given = open_stac(product.source, -1000).bands["B8A"].radiometry
    assert given.offset == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("raster:scale", 0),
        ("raster:scale", -1e-4),
        ("raster:scale", "x"),
        ("raster:offset", "x"),
        ("raster:offset", float("nan")),
        ("raster:scale", 1),
        ("raster:offset", -1000),
    ],
)
def test_a_scale_or_offset_that_cannot_be(tmp_path, key, value):
    item = own_item()
    item["assets"]["B03"]["bands"][0][key] = value
    with pytest.raises(RadiometryError, match=f"asset B03: {key} is {value!r}"):
        open_stac(saved(tmp_path, item))


def test_an_impossible_offset_does_not_matter_if_the_user_gives_one(tmp_path):
    item = own_item()
    item["assets"]["B03"]["bands"][0]["raster:offset"] = -1000
    product = open_stac(saved(tmp_path, item), -1000)
    assert product.bands["B03"].radiometry.offset_dn == -1000


@pytest.mark.parametrize(
    ("baseline", "expected", "offset_dn"),
    [("99.99", "99.99", 0), ("5.1", "05.10", -1000), (5.09, "05.09", -1000), (5, "05.00", -1000)],
)
def test_unusual_baselines(tmp_path, baseline, expected, offset_dn):
    item = planetary_computer_item()
    item["properties"]["s2:processing_baseline"] = baseline
    product = open_stac(saved(tmp_path, item, ["B02"]))
    assert product.baseline == expected
    assert product.bands["B02"].radiometry.offset_dn == offset_dn
    assert (" --offset " in product.offset_reason) == (expected == "99.99")


@pytest.mark.parametrize("stated", [{"proj:code": CRS}, {"proj:epsg": 32631}, {}])
def test_the_crs_of_the_item_is_used_for_files_without_one(tmp_path, stated, caplog):
    path = write_band(tmp_path / "B02.tif", 10)
    with rasterio.open(path) as dataset:
        profile, image = dataset.profile, dataset.read()
    with rasterio.open(path, "w", **{**profile, "crs": None}) as dataset:
        dataset.write(image)
    item = own_item()
    for fields in (item["properties"], *item["assets"].values()):
        for key in ("proj:code", "proj:epsg", "proj:wkt2"):
            fields.pop(key, None)
    item["properties"] |= stated
    if stated:
        assert open_stac(write_item(tmp_path, item)).grid.crs == CRS
        assert "the files of B02 have no CRS; EPSG:32631 is used" in caplog.text
    else:
        assert "proj:code" in fails(CorruptDataError, write_item(tmp_path, item))


def test_a_nodata_that_no_whole_number_is_counts_as_unstated(tmp_path):
    item = own_item()
    item["assets"]["B03"]["bands"][0]["nodata"] = "nan"
    product = open_stac(saved(tmp_path, item))
    assert product.bands["B03"].radiometry.nodata == 0


# Names ------------------------------------------------------------------------------------------


def test_the_2a_of_the_platform_is_not_the_level(tmp_path):
    item = own_item()
    del item["properties"]["processing:level"]
    item["id"] = "S2A_10UEC_20240807_0_L1C"
    item["properties"].pop("s2:granule_id")
    assert open_stac(saved(tmp_path, item)).level == "L1C"
    item["id"] = "S2A_something"
    assert open_stac(write_item(tmp_path, item)).level == "unknown"


def test_a_range_of_dates_is_carried_instead_of_a_date(tmp_path):
    item = own_item()
    span = {"start_datetime": "2015-06-23T00:00:00Z", "end_datetime": "2021-12-31T00:00:00Z"}
    item["properties"] |= {"datetime": None, **span}
    product = open_stac(saved(tmp_path, item))
    assert product.datetime is None
    assert span.items() <= product.properties.items()


# Local files ------------------------------------------------------------------------------------


def test_a_file_url_and_a_folder_with_odd_characters(tmp_path):
    path = Path(saved(tmp_path / "août #1 ?", own_item()))
    assert len(open_stac(str(path)).bands) == 12
    assert len(open_stac(path.as_uri()).bands) == 12


def test_a_relative_path_stays_right_after_the_folder_changes(tmp_path, monkeypatch):
    saved(tmp_path / "scene", own_item())
    monkeypatch.chdir(tmp_path)
    product = open_stac("scene/item.json")
    monkeypatch.chdir("/")
    assert first_pixels(product) == EVERY_BAND_ITSELF


def test_a_missing_file_is_named_when_its_band_is_wanted(tmp_path):
    names = [name for name in BAND_NAMES if name != "B09"]
    product = open_stac(saved(tmp_path, own_item(), names))
    assert list(product.bands) == names
    assert product.missing == {"B09": f"searched for {tmp_path / 'B09.tif'}"}
    with pytest.raises(MissingBandError, match="band B09 is missing: searched for"):
        product.band_files(["B09"])


def test_a_missing_asset_is_named_with_those_there_are(tmp_path):
    item = own_item()
    item["assets"] = {key: item["assets"][key] for key in ("B04", "B02", "B03")}
    product = open_stac(saved(tmp_path, item))
    assert list(product.bands) == ["B02", "B03", "B04"]
    assert product.missing["B8A"] == "the item has no asset for it, only B02, B03, B04"


def test_not_one_file_is_there(tmp_path):
    message = fails(MissingBandError, write_item(tmp_path, own_item()))
    assert f"searched for {tmp_path / 'B01.tif'}" in message


def test_a_damaged_file(tmp_path):
    source = saved(tmp_path, own_item())
    (tmp_path / "B05.tif").write_bytes(b"no image")
    with pytest.raises(CorruptDataError, match="band B05: cannot open"):
        open_stac(source)


def test_grids_that_do_not_fit(tmp_path):
    source = saved(tmp_path, own_item())
    write_band(tmp_path / "B05.tif", 10)
    with pytest.raises(GridError, match="band B05"):
        open_stac(source)


# HTTP -------------------------------------------------------------------------------------------


def test_http_reads_only_the_ranges_it_needs(tmp_path):
    size = write_band(tmp_path / "B04.tif", 10, 1003, side=15360).stat().st_size
    write_item(tmp_path, earth_search_item())
    assert size > 4_000_000
    with serve(tmp_path) as server:
        product = open_stac(f"{server.url}/item.json")
        assert product.bands["B04"].path == f"/vsicurl/{server.url}/B04.tif"
        assert len(server.ranges("/B04.tif")) >= 1
        with BandReader(product, ["B04"]) as reader:
            pixels = reader.read("B04", Window(1200, 1200, 60, 60))
        ranges = server.ranges("/B04.tif")
    assert (pixels == 1003).all()
    assert len(ranges) >= 2
    assert None not in ranges
    assert server.sent < size / 2


def test_http_missing_file(tmp_path):
    names = [name for name in BAND_NAMES if name != "B09"]
    saved(tmp_path, earth_search_item(), names)
    with serve(tmp_path) as server:
        product = open_stac(f"{server.url}/item.json")
        assert list(product.bands) == names
        assert product.missing == {
            "B09": f"searched for {server.url}/B09.tif (HTTP response code: 404)"
        }


def test_http_all_files_forbidden(tmp_path):
    saved(tmp_path, own_item())
    with serve(tmp_path) as server:
        server.status = {f"/{name}.tif": 403 for name in BAND_NAMES}
        message = fails(MissingBandError, f"{server.url}/item.json")
    assert "B01.tif (HTTP response code: 403)" in message


def test_http_damaged_file(tmp_path):
    saved(tmp_path, own_item())
    (tmp_path / "B11.tif").write_bytes(b"no image" * 100)
    with (
        serve(tmp_path) as server,
        pytest.raises(CorruptDataError, match="band B11: cannot open"),
    ):
        open_stac(f"{server.url}/item.json")


def test_http_item_on_another_server_than_its_assets(tmp_path):
    write_bands(tmp_path / "data")
    with serve(tmp_path) as server:
        item = planetary_computer_item(lambda name: f"{server.url}/data/{name}?sig=a%2Fb%3D")
        product = open_stac(write_item(tmp_path / "elsewhere", item))
        assert first_pixels(product) == EVERY_BAND_ITSELF


@pytest.mark.parametrize(("status", "word"), [(404, "Not Found"), (403, "Forbidden")])
def test_http_item_refused(tmp_path, status, word):
    with serve(tmp_path) as server:
        server.status = {"/item.json": status}
        message = fails(NotAProductError, f"{server.url}/item.json")
    assert message.endswith(f"the server answered HTTP {status} {word} refused")


def test_http_no_server():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        source = f"http://127.0.0.1:{unused.getsockname()[1]}/item.json"
        assert "cannot be reached ([Errno 111]" in fails(NotAProductError, source)


def test_http_silent_server(monkeypatch):
    monkeypatch.setattr(documents, "TIMEOUT", (1.0, 0.1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/item.json"
        assert "timed out" in fails(NotAProductError, source)


def test_http_item_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(stac, "MAX_ITEM_BYTES", 1 << 20)
    with serve(tmp_path) as server:
        server.pages = {"/item.json": lambda _: b" " * (2 << 20)}
        assert "larger than 1 MB" in fails(NotAProductError, f"{server.url}/item.json")


def test_http_server_that_sends_whole_files_only(tmp_path):
    write_band(tmp_path / "B04.tif", 10, 1003, side=15360)  # more than GDAL asks for at once
    write_item(tmp_path, earth_search_item())
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)  # knows no ranges
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(CorruptDataError, match=r"does not support HTTP ranges$"):
            open_stac(f"http://127.0.0.1:{server.server_port}/item.json")
        server.shutdown()


def test_planetary_computer_hrefs_are_signed(tmp_path, monkeypatch):
    write_bands(tmp_path)
    with serve(tmp_path) as server:
        host = server.url.removeprefix("http://")
        monkeypatch.setattr(hrefs, "SIGNED_HOSTS", frozenset({host}))
        monkeypatch.setenv("VSICURL_PC_SAS_SIGN_HREF_URL", f"{server.url}/sign?href=")
        server.pages = {
            "/sign": lambda query: (
                f'{{"msft:expiry": "2099-01-01T00:00:00", "href": "{query[5:]}?sig=abc"}}'.encode()
            )
        }
        item = planetary_computer_item(lambda name: f"{server.url}/{name}")
        product = open_stac(write_item(tmp_path, item))
        assert first_pixels(product) == EVERY_BAND_ITSELF
        assert server.ranges("/sign")


# S3 ---------------------------------------------------------------------------------------------


def test_s3_through_a_real_endpoint(tmp_path, monkeypatch):
    write_cdse_bands(tmp_path / "eodata" / "x.SAFE")
    with serve(tmp_path) as server:
        monkeypatch.setenv("AWS_S3_ENDPOINT", server.url.removeprefix("http://"))
        monkeypatch.setenv("AWS_HTTPS", "NO")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
        item = cdse_item(lambda name: f"s3://eodata/x.SAFE/{name}")
        product = open_stac(write_item(tmp_path, item))
        assert product.bands["B02"].path == "/vsis3/eodata/x.SAFE/B02_10m.tif"
        assert first_pixels(product) == EVERY_BAND_ITSELF
        assert all(server.ranges("/eodata/x.SAFE/B02_10m.tif"))
        assert server.ranges("/eodata/x.SAFE/B02_10m.tif")


def test_https_alternate_where_there_are_no_keys_for_s3(tmp_path):
    write_cdse_bands(tmp_path)
    with serve(tmp_path) as server:
        item = cdse_item(
            lambda name: f"s3://no-keys-for-this/{name}", lambda name: f"{server.url}/{name}"
        )
        source = write_item(tmp_path, item)
        product = open_stac(source)
        assert product.bands["B02"].path == f"/vsicurl/{server.url}/B02_10m.tif"
        assert first_pixels(product) == EVERY_BAND_ITSELF


def test_neither_s3_nor_its_alternate(tmp_path):
    with serve(tmp_path) as server:
        server.status = {f"/{name}_{band.gsd}m.tif": 401 for name, band in ALL_BANDS.items()}
        item = cdse_item(
            lambda name: f"s3://no-keys-for-that/{name}", lambda name: f"{server.url}/{name}"
        )
        message = fails(MissingBandError, write_item(tmp_path, item))
    assert "searched for s3://no-keys-for-that/B01_60m.tif (AWS_SECRET_ACCESS_KEY" in message
    assert f"and {server.url}/B01_60m.tif (HTTP response code: 401)" in message


# What is no item --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<xml/>", "not JSON"),
        ("", "not JSON"),
        ("\x00\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", "JSON, but not an object (list)"),
        ('{"type": "Catalog", "id": "x"}', "not a STAC item (its type is Catalog"),
        ('{"type": "FeatureCollection", "features": []}', "(its type is FeatureCollection"),
        ('{"type": "Feature"}', "not a STAC item ("),
        ('{"type": "Feature", "stac_version": "1.0.0", "id": "x"}', "not a STAC item ("),
    ],
)
def test_no_item(tmp_path, text, expected):
    path = tmp_path / "item.json"
    path.write_text(text, encoding="latin-1")
    assert expected in fails(NotAProductError, str(path))


@pytest.mark.parametrize("strange", [[1], "x", {"href": None}, {}])
def test_a_strange_asset(tmp_path, strange):
    item = own_item()
    item["assets"]["B02"] = strange
    with pytest.raises(DecametreError):
        open_stac(write_item(tmp_path, item))


def test_no_file(tmp_path):
    source = str(tmp_path / "item.json")
    assert fails(NotAProductError, source) == (
        f"{source}: cannot be read (No such file or directory)"
    )


def test_no_sentinel_2_band(tmp_path):
    item = own_item()
    item["assets"] = {"visual": {"href": "TCI.tif"}, "B10": {"href": "B10.tif"}}
    message = fails(NotAProductError, write_item(tmp_path, item))
    assert message.endswith("no Sentinel-2 band among the item's assets (B10, visual)")


def test_another_satellites_item(tmp_path):
    item = earth_search_item()  # Landsat's assets are named blue, green, red, nir08, swir16
    item["properties"] |= {"platform": "landsat-8", "constellation": "landsat"}
    message = fails(NotAProductError, saved(tmp_path, item))
    assert message.endswith("an item of landsat landsat-8, not of Sentinel-2")


def test_a_constellation_with_a_space(tmp_path):
    item = planetary_computer_item()  # writes "Sentinel 2"
    del item["properties"]["platform"]
    assert open_stac(saved(tmp_path, item)).platform == "sentinel-2a"  # from the product's name


def test_the_helper_writes_what_it_says(tmp_path):
    with rasterio.open(write_band(tmp_path / "B05.tif", 20, 7)) as dataset:
        assert (dataset.width, dataset.crs.to_epsg()) == (30, 32631)
        assert (dataset.read(1) == 7).all()
