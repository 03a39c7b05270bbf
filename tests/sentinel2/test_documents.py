import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from urllib3 import Retry

from decametre.errors import DocumentError
from decametre.sentinel2 import documents
from decametre.sentinel2.documents import read_document, server_session


class Server(BaseHTTPRequestHandler):
    """Answers each request with the next of `replies`: status, content."""

    def do_GET(self):
        self.server.paths.append(self.path)
        status, content = self.server.replies.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(Retry, "sleep", lambda self, response=None: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.replies, running.paths = [], []
        running.url = f"http://127.0.0.1:{running.server_port}"
        Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def message_of(source, **options):
    with pytest.raises(DocumentError) as error:
        read_document(str(source), **options)
    return str(error.value).removeprefix(f"{source}: ")


def test_paths_and_file_urls(tmp_path):
    path = tmp_path / "a b#c.json"
    path.write_text('{"type": "Feature"}')
    assert read_document(str(path)) == {"type": "Feature"}
    assert read_document(path.as_uri()) == {"type": "Feature"}


def test_a_file_that_is_missing_or_no_object(tmp_path):
    assert message_of(tmp_path / "none") == "cannot be read (No such file or directory)"
    (tmp_path / "list.json").write_text("[1]")
    assert message_of(tmp_path / "list.json").startswith("JSON, but not an object (list)")
    (tmp_path / "image.tif").write_bytes(b"II*\0\xff")
    assert message_of(tmp_path / "image.tif").startswith("not JSON (")


def test_a_busy_server_is_asked_again(server, caplog):
    server.replies = [(503, b""), (429, b""), (200, b'{"id": "a"}')]
    assert read_document(f"{server.url}/item?sig=a%2Fb") == {"id": "a"}
    assert server.paths == ["/item?sig=a%2Fb"] * 3
    assert not caplog.messages


def test_a_server_that_stays_busy(server):
    server.replies = [(503, b"<html>no</html>")] * 3
    message = message_of(f"{server.url}/item")
    assert message == "the server answered HTTP 503 Service Unavailable"


def test_the_reason_in_a_json_error(server):
    server.replies = [(404, json.dumps({"detail": "no such item"}).encode())]
    assert message_of(f"{server.url}/item") == (
        "the server answered HTTP 404 Not Found no such item"
    )


def test_a_document_that_is_too_large(server):
    server.replies = [(200, b" " * (3 << 20))]
    message = message_of(f"{server.url}/item", max_bytes=2 << 20)
    assert message == "larger than 2 MB; give a STAC document"


def test_malformed_urls():
    for url in ("http://", "http://a b/", "http://[::1", "http://a:b/"):
        assert message_of(url).startswith("cannot be reached (")


def test_a_proxy_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.replies = [(200, b"{}")]
    assert read_document("http://catalogue.example/item") == {}
    assert server.paths == ["http://catalogue.example/item"]


def test_certificates_from_the_environment(tmp_path, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert server_session().verify is True
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert server_session().verify == str(tmp_path / "ca.pem")


def test_one_session_for_many_documents(server):
    server.replies = [(200, b"{}"), (200, b"{}")]
    with server_session() as session:
        assert read_document(f"{server.url}/a", session) == read_document(
            f"{server.url}/b", session
        )
    assert documents.TIMEOUT == (10.0, 60.0)


def test_a_long_wait_that_a_server_requests_is_left_to_the_caller(server, monkeypatch):
    def do_GET(self):
        self.server.paths.append(self.path)
        self.send_response(429)
        self.send_header("Retry-After", "7200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    monkeypatch.setattr(Server, "do_GET", do_GET)
    with pytest.raises(DocumentError, match="HTTP 429") as caught:
        read_document(f"{server.url}/item")
    assert server.paths == ["/item"]
    assert caught.value.transient
    assert caught.value.retry_after == 7200


def test_which_errors_may_pass(server):
    server.replies = [(404, b"")]
    with pytest.raises(DocumentError) as caught:
        read_document(f"{server.url}/item")
    assert not caught.value.transient
    server.shutdown()
    server.server_close()
    with pytest.raises(DocumentError, match="cannot be reached") as caught:
        read_document(f"{server.url}/item")
    assert caught.value.transient
