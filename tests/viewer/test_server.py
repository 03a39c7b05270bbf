"""The server answers this machine's browser, with the secret, and nobody else."""

import pytest

import decametre
from decametre.errors import ViewError
from decametre.viewer.options import ViewOptions
from decametre.viewer.viewer import open_viewer
from tests.viewer.conftest import Client


def test_the_page_and_its_files_are_served(client):
    page = client.get("")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for name in ("page.js", "style.css", "vendor/ol.js", "vendor/land-50m.json", "icon.svg"):
        assert client.get(f"assets/{name}").status == 200
    assert client.json("site.json") == {"kind": "scene", "title": "sharp", "base_map": False}


def test_the_page_may_load_nothing_from_the_internet(client):
    policy = client.get("").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_a_base_map_is_loaded_on_request_only(result):
    with open_viewer(str(result), None, ViewOptions(base_map=True)) as viewer:
        policy = Client(viewer).get("").headers["Content-Security-Policy"]
    assert "img-src 'self' data: blob: https://tile.openstreetmap.org;" in policy


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/site.json",
        "/wrong/",
        "/wrong/site.json",
        "//site.json",
        "/wrong/products/0/view.json",
    ],
)
def test_without_the_token_nothing_is_found(client, path):
    assert client.request(path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "assets/../server.py",
        "assets/vendor/../page.js",
        "assets/..%2fserver.py",
        "assets//etc/passwd",
        "../../etc/passwd",
        "assets/",
        "products/0/../../../../etc/passwd",
        "products/1/view.json",
        "products/-1/view.json",
        "products/0/tiles/result/0/0/-1.png",
        "products/0/tiles/result/0/0/0.jpg",
        "fleet.json",
        "other",
    ],
)
def test_nothing_else_is_served(client, path):
    assert client.get(path).status == 404


@pytest.mark.parametrize("host", ["example.org", "example.org:80", "127.0.0.1", "localhost:1"])
def test_a_request_to_another_host_name_is_refused(client, host):
    assert client.request(client.root, Host=host).status == 403


def test_localhost_is_this_machine(client):
    assert client.request(client.root, Host=f"localhost:{client.connection.port}").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_refused(client, method):
    assert client.request(client.root, method).status == 501
    client.connection.close()


def test_the_server_listens_on_loopback(viewer):
    assert viewer.url.startswith("http://127.0.0.1:")
    assert len(viewer.url.split("/")[3]) >= 20


def test_a_used_port_is_one_line(viewer, result):
    port = int(viewer.url.split(":")[2].split("/")[0])
    with pytest.raises(ViewError, match=rf"port {port} cannot be used .*--port"):
        open_viewer(str(result), None, ViewOptions(port=port))


def test_the_python_function_returns_a_running_viewer(result, sample_item):
    with decametre.view(result, sample_item, bands=["B12", "B8A", "B04"]) as viewer:
        view = Client(viewer).json("products/0/view.json")
    assert view["first_bands"] == ["B12", "B8A", "B04"]
    assert set(view["layers"]) == {"before", "result"}


def test_a_closed_viewer_answers_nothing_and_closes_twice(result):
    viewer = open_viewer(str(result), None, ViewOptions())
    client = Client(viewer)
    assert client.get("").status == 200
    client.connection.close()
    assert viewer.url in viewer._repr_html_()
    viewer.close()
    viewer.close()
    with pytest.raises(ConnectionError):
        client.get("")
    assert viewer._repr_html_() == "<p>The viewer is closed.</p>"
