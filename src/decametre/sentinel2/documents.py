"""Reading JSON documents, such as STAC items, from a path or a server.

Servers are reached through requests, which follows the usual environment variables: `HTTPS_PROXY`,
`HTTP_PROXY` and `NO_PROXY` for proxies, `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE` for certificates;
`SSL_CERT_FILE` is used as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError, MaxRetryError

from decametre.errors import DocumentError
from decametre.files import parse_json
from decametre.sentinel2.hrefs import is_web, local_path
from decametre.sentinel2.references import check_reference, is_foreign

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3.connectionpool import ConnectionPool

TIMEOUT = (10.0, 60.0)
"""Timeouts in seconds to connect and to receive more data."""

MAX_RETRY_AFTER = 60.0
"""Longest wait in seconds that a server may request between two attempts. If it requests more, the
request fails, and a fleet repeats it later."""

BUSY_STATUSES = (408, 429, 502, 503, 504)
"""HTTP statuses of requests that may succeed later."""


class _BoundedRetry(Retry):
    """Retries as urllib3's, without the long waits that a server may request."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if response is not None and (self.get_retry_after(response) or 0) > MAX_RETRY_AFTER:
            raise MaxRetryError(_pool, url, error)  # type: ignore[arg-type]
        return super().increment(method, url, response, error, _pool, _stacktrace)


RETRIES = _BoundedRetry(
    total=2,
    backoff_factor=0.5,
    status_forcelist=BUSY_STATUSES,
    allowed_methods=None,  # the POST requests of STAC searches change nothing on a server
    raise_on_status=False,
)
"""Retries after failed connections and temporary server errors: after 0 and 1 second, or when
the server requests."""

MAX_BYTES = 1 << 30
"""Size limit of a document by default, in bytes."""

CHUNK_BYTES = 1 << 20


def certificate_file() -> str | None:
    """The user's file of certificates, from environment variables; None for the defaults."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


class _CheckedSession(requests.Session):
    """A session that requests only what a document at `origin`, or a redirect, may lead to.

    Args:
        origin: Path or URL of the document whose references are followed; empty if the user names
            every URL.
    """

    def __init__(self, origin: str) -> None:
        super().__init__()
        self._origin = origin

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, the first one or one after a redirect."""
        check_reference(self._origin, str(request.url))
        return super().send(request, **options)

    def get_redirect_target(self, response: requests.Response) -> str | None:
        """The URL of a redirect, or None."""
        target = super().get_redirect_target(response)
        if target is not None:
            check_reference(response.url, urljoin(response.url, target))
        return target


def server_session(origin: str = "") -> requests.Session:
    """A session with retries. It keeps connections open, and threads may share it.

    Args:
        origin: Path or URL of the document whose references are followed; empty if the user names
            every URL.

    A request that the document may not lead to raises a DocumentError; see `check_reference`.
    """
    logging.getLogger("urllib3.connectionpool").addFilter(_is_no_retry_message)
    session = _CheckedSession(origin)
    session.headers["User-Agent"] = "decametre"
    session.verify = certificate_file() or True
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
    return session


def _is_no_retry_message(record: logging.LogRecord) -> bool:
    """Keep urllib3 from logging each retry: if all fail, an error is raised."""
    return not str(record.msg).startswith("Retrying (")


def read_document(
    source: str, session: requests.Session | None = None, max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        source: Path, or file://, http:// or https:// URL.
        session: A session to share between many documents; a new one by default.
        max_bytes: Size limit.

    Raises:
        DocumentError: It cannot be read, is too large, or is not a JSON object.
    """
    content = _download(source, session, max_bytes) if is_web(source) else _read_file(source)
    try:
        document = parse_json(content)
    except ValueError as error:
        raise DocumentError(f"{source}: not JSON ({error}); give a STAC document") from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise DocumentError(f"{source}: JSON, but not an object ({kind}); give a STAC document")
    return document


def _read_file(source: str) -> bytes:
    try:
        return Path(local_path(source)).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise DocumentError(f"{source}: cannot be read ({reason})") from error


def _download(source: str, session: requests.Session | None, max_bytes: int) -> bytes:
    if session is None:
        with server_session() as new_session:
            return _download(source, new_session, max_bytes)
    content = bytearray()
    try:
        with session.get(source, timeout=TIMEOUT, stream=True) as response:
            if not response.ok:
                response.raw.decode_content = True
                text = response.raw.read(CHUNK_BYTES).decode(errors="replace")
                reason = " ".join((response.reason or "", excerpt(text))).strip()
                raise DocumentError(
                    f"{source}: the server answered HTTP {response.status_code} {reason}".rstrip(),
                    transient=response.status_code in BUSY_STATUSES,
                    retry_after=RETRIES.get_retry_after(response.raw),
                )
            for chunk in response.iter_content(CHUNK_BYTES):
                content += chunk
                if len(content) > max_bytes:
                    raise DocumentError(
                        f"{source}: larger than {max_bytes >> 20} MB; give a STAC document"
                    )
    # UnicodeError, LocationParseError: malformed URLs that requests does not catch.
    except (requests.RequestException, HTTPError, UnicodeError) as error:
        raise DocumentError(
            f"{source}: cannot be reached ({root_cause(error)})", transient=True
        ) from error
    return bytes(content)


def check_hrefs(origin: str, hrefs: Iterable[str]) -> None:
    """Check what a document names, and where servers redirect it; see `check_reference`.

    GDAL follows redirects unchecked, so they are followed here first.

    Args:
        origin: Path or URL of the document.
        hrefs: Absolute paths or URLs in it that will be opened.

    Raises:
        DocumentError: One of them must not be opened, or leads to a server that must not be.
    """
    hrefs = list(hrefs)
    for href in hrefs:
        check_reference(origin, href)
    servers = [href for href in hrefs if is_web(href)] if is_foreign(origin) else []
    if servers:
        with server_session(origin) as session, ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(partial(_follow_redirects, session), servers))


def _follow_redirects(session: requests.Session, url: str) -> None:
    """Request one byte. A server that fails is reported when the file is opened."""
    with suppress(requests.RequestException, HTTPError, UnicodeError):
        session.get(url, timeout=TIMEOUT, stream=True, headers={"Range": "bytes=0-0"}).close()


def root_cause(error: BaseException) -> str:
    """The innermost reason of a failed connection, as short text.

    Errors of requests wrap those of urllib3, whose messages end with the system's reason.
    """
    cause: object = error
    while arguments := getattr(cause, "args", ()):
        cause = getattr(arguments[0], "reason", None) or arguments[0]
    return excerpt(str(cause).rpartition(": ")[2]) or type(error).__name__


def excerpt(text: str) -> str:
    """The human-readable part of a server's error message, at most 200 characters."""
    try:
        document = parse_json(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        values = (document.get(key) for key in ("detail", "description", "message", "code"))
        text = str(next((value for value in values if value), text))
    elif "<" in text:  # HTML, or a Python object such as <urllib3...>
        return ""
    return text if len(text) <= 200 else f"{text[:200]}..."
