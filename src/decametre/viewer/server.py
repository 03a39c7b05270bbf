"""The HTTP server of the viewer: this machine only, with a secret in the address."""

from __future__ import annotations

import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from decametre.errors import DecametreError, ViewError
from decametre.viewer.site import Response, Site

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

TEXT = "text/plain; charset=utf-8"

OPENSTREETMAP = "https://tile.openstreetmap.org"

CACHED = "private, max-age=3600"


class ViewServer(ThreadingHTTPServer):
    """Answers requests from this machine.

    Args:
        site: What is served.
        port: The port; 0 chooses a free one.

    Raises:
        ViewError: The port cannot be used.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise ViewError(
                f"port {port} cannot be used ({error.strerror}); choose another one with --port, "
                "or omit it for a free one"
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}

    @property
    def url(self) -> str:
        """The address of the page, with its secret."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.site.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the error of a connection; the browser closes many before the answer is sent."""
        log.debug("a connection ended with an error", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version = "decametre"
    sys_version = ""
    timeout = 60
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Send what an address names."""
        if self.headers.get("Host") not in self.server.hosts:
            # A page of another site could have its name resolved to this machine.
            self._send(Response(b"this address is served to this machine only\n", TEXT, 403))
            return
        try:
            response = self.server.site.respond(self.path)
        except DecametreError as error:
            response = Response(f"{error}\n".encode(), TEXT, 400)
        except Exception:
            log.exception("%s could not be answered", self.path.rpartition("/")[2])
            response = Response(b"a fault of decametre; see its log\n", TEXT, 500)
        self._send(response)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": CACHED if response.cached else "no-store",
            "Content-Security-Policy": _policy(self.server.site.base_map),
            "Referrer-Policy": "strict-origin-when-cross-origin",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their addresses contain the secret."""


def _policy(base_map: bool) -> str:
    """What the page may load: its own files and, on request, tiles of a base map."""
    images = f"'self' data: blob: {OPENSTREETMAP}" if base_map else "'self' data: blob:"
    return (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; worker-src 'self' blob: data:; "
        f"img-src {images}; form-action 'none'; base-uri 'none'"
    )
