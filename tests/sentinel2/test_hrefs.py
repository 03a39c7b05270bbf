"""Paths and URLs, as they are written and as GDAL opens them."""

import pytest

from decametre.sentinel2.hrefs import gdal_path, is_web, local_path, resolve_href


@pytest.mark.parametrize(
    ("source", "href", "wanted"),
    [
        ("/a/item.json", "./B02.tif", "/a/B02.tif"),
        ("/a/item.json", "../b/B02.tif", "/a/../b/B02.tif"),
        ("/a/item.json", "/b/B02.tif", "/b/B02.tif"),
        ("file:///a%20b/item.json", "B02.tif", "/a b/B02.tif"),
        ("/a/item.json", "file:///b%20c/B02.tif", "/b c/B02.tif"),
        ("/a/item.json", "s3://eodata/B02.jp2", "s3://eodata/B02.jp2"),
        ("/a/item.json", "/vsizip//a.zip/B02.jp2", "/vsizip//a.zip/B02.jp2"),
        ("https://h/c/items/x", "../B02.tif", "https://h/c/B02.tif"),
        ("https://h/c/items/x", "/B02.tif", "https://h/B02.tif"),
        ("https://h/c/items/x", "https://i/B02.tif", "https://i/B02.tif"),
    ],
)
def test_where_an_href_points(source, href, wanted):
    assert resolve_href(source, href) == wanted


def test_only_planetary_computer_is_asked_for_signatures():
    unsigned = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/B02_10m.tif"
    assert gdal_path(unsigned).startswith("/vsicurl?pc_url_signing=yes&url=https%3A%2F%2F")
    assert gdal_path(f"{unsigned}?st=1&sig=a") == f"/vsicurl/{unsigned}?st=1&sig=a"
    other = "https://mine.blob.core.windows.net/B02_10m.tif"
    assert gdal_path(other) == f"/vsicurl/{other}"


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("/b c/B02.tif", "/b c/B02.tif"),
        ("file:///b%20c/B02.tif", "/b c/B02.tif"),
        ("/vsizip//a.zip/B02.jp2", "/vsizip//a.zip/B02.jp2"),
        ("s3://eodata/a/B02.jp2", "/vsis3/eodata/a/B02.jp2"),
        ("gs://gcp-public/a/B02.jp2", "/vsigs/gcp-public/a/B02.jp2"),
        ("az://container/a/B02.jp2", "/vsiaz/container/a/B02.jp2"),
        ("https://h/a/B02.tif?x=1", "/vsicurl/https://h/a/B02.tif?x=1"),
        ("HTTP://h/B02.tif", "/vsicurl/HTTP://h/B02.tif"),
    ],
)
def test_what_gdal_opens(href, wanted):
    assert gdal_path(href) == wanted


def test_servers_and_files():
    assert [is_web(h) for h in ("http://h", "HTTPS://h/a", "file:///a", "s3://b/a", "/a")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert local_path("file:///a%20b") == local_path("/a b") == "/a b"
