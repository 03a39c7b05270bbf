"""Documents of public servers name neither local files nor servers that are not public."""

import json
import socket

import pytest

from decametre.errors import DocumentError
from decametre.fleet.inputs.items import item_of_collection
from decametre.sentinel2 import references
from decametre.sentinel2.documents import check_hrefs, read_document, server_session
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.references import check_reference, is_public
from decametre.sentinel2.stac import ORIGIN
from tests.sentinel2.test_documents import server  # noqa: F401  # a fixture

PUBLIC = "https://public.example/item.json"
ADDRESSES = {"public.example": "93.184.216.34", "inside.example": "10.1.2.3"}


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Names without a server of names; numeric addresses as usual."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host.replace(".", "").isalpha() and host not in ADDRESSES:
            raise socket.gaierror
        return resolve(ADDRESSES.get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    is_public.cache_clear()
    yield
    is_public.cache_clear()


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("public.example", True),
        ("93.184.216.34", True),
        ("unknown.example", None),
        ("inside.example", False),
        ("127.0.0.1", False),
        ("2130706433", False),  # 127.0.0.1 as one number
        ("0x7f.1", False),
        ("169.254.169.254", False),  # the metadata service of clouds
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("fe80::1", False),
        ("0.0.0.0", False),
    ],
)
def test_which_addresses_are_public(host, public):
    assert is_public(host) is public


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../secret.tif",
        "file:///etc/passwd",
        "/vsizip//home/me/private.zip/B02.tif",
        "/vsicurl/http://127.0.0.1/B02.tif",
        "ftp://public.example/B02.tif",
        "simplecache::file:///home/me/x.zarr",
        "s3://bucket/x.zip::file:///home/me/x.zarr",
        "http://127.0.0.1:8080/B02.tif",
        "http://inside.example/B02.tif",
        "https://[::1]/B02.tif",
        "HTTP://169.254.169.254/latest/meta-data",
    ],
)
def test_what_a_public_document_must_not_name(target):
    with pytest.raises(DocumentError, match=r"item.json: (names|leads to) "):
        check_reference(PUBLIC, target)
    check_reference("/home/me/item.json", target)
    check_reference("http://inside.example/item.json", target)


def test_what_a_public_document_may_name():
    for target in ("https://public.example/B02.tif", "http://unknown.example/x", "s3://a/B02.jp2"):
        check_reference(PUBLIC, target)


def test_a_redirect_of_a_public_server(server, monkeypatch):  # noqa: F811
    """The server on loopback counts as public, so that it can redirect to another address."""
    public = {"127.0.0.1": True, "inside.example": False}
    monkeypatch.setattr(references, "is_public", public.get)
    for target in ("http://inside.example/secret.json", "file:///etc/passwd"):
        send_redirects(server, monkeypatch, target)
        with pytest.raises(DocumentError, match=f"(leads to|names) {target}"):
            read_document(f"{server.url}/item.json")
        # A band file, of which GDAL would follow the redirect.
        with pytest.raises(DocumentError, match=f"(leads to|names) {target}"):
            check_hrefs(PUBLIC, [f"{server.url}/B02.tif"])
    assert set(server.paths) == {"/item.json", "/B02.tif"}


def send_redirects(server, monkeypatch, target):  # noqa: F811
    def do_GET(self):
        self.server.paths.append(self.path)
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", do_GET)


def test_a_session_requests_only_what_its_document_may_name():
    with server_session(PUBLIC) as session, pytest.raises(DocumentError, match="not public"):
        session.get("http://inside.example/item.json")


def public_item(sample_item, href):
    item = json.loads(open(sample_item).read())  # noqa: PTH123, SIM115
    item["assets"] = {"B02": item["assets"]["B02"] | {"href": href}}
    return item


@pytest.mark.parametrize("href", ["file:///etc/passwd", "http://inside.example/B02.tif"])
def test_an_item_that_a_fleet_saved_keeps_its_origin(tmp_path, sample_item, href):
    item = public_item(sample_item, href)
    # The item cannot state another origin.
    item |= {
        ORIGIN: "/home/me/item.json",
        "links": [{"rel": "self", "href": "http://inside.example/"}],
    }
    listed = item_of_collection(item, "https://public.example/search")
    path = tmp_path / "item.json"
    path.write_text(json.dumps(listed.item))
    with pytest.raises(DocumentError, match=r"public.example/search: (names|leads to) "):
        open_product(path)


def test_a_public_item_is_not_replaced_by_a_local_file(tmp_path, sample_item):
    item = public_item(sample_item, "B02.tif")
    item["links"] = [{"rel": "self", "href": sample_item}]
    assert item_of_collection(item, str(tmp_path / "items.json")).source == sample_item
    assert item_of_collection(item, "https://public.example/search").source != sample_item
