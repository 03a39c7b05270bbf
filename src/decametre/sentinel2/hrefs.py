"""Paths and URLs: as users and STAC items write them, and as GDAL opens them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

SIGNED_HOSTS = frozenset({"sentinel2l2a01.blob.core.windows.net"})
"""Servers of the Planetary Computer. They require signed URLs, which GDAL can request."""

_FILE = "file://"
_CLOUDS = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|/vsi")


def is_web(href: str) -> bool:
    """Whether an href is a URL of a web server."""
    return href.lower().startswith(("http://", "https://"))


def is_remote(href: str) -> bool:
    """Whether an href is a URL of a server or of object storage, not a path or a file:// URL."""
    return "://" in href and not href.startswith(_FILE)


def local_path(href: str) -> str:
    """The path in a file:// URL; other text is unchanged."""
    return unquote(urlsplit(href).path) if href.startswith(_FILE) else href


def resolve_href(source: str, href: str) -> str:
    """An href as an absolute path or URL.

    Args:
        source: Path or URL of the document that contains the href.
        href: Absolute, or relative to the document.
    """
    if href.startswith(_FILE):
        return local_path(href)
    if _ABSOLUTE.match(href):
        return href
    if is_web(source):
        return urljoin(source, href)
    return str(Path(local_path(source)).absolute().parent / href)


def gdal_path(href: str) -> str:
    """GDAL's name of an absolute path or URL. GDAL signs URLs of servers that require it."""
    parts = urlsplit(href)
    if parts.netloc in SIGNED_HOSTS and "sig=" not in parts.query:
        return f"/vsicurl?pc_url_signing=yes&url={quote(href, safe='')}"
    if parts.scheme in _CLOUDS:
        return _CLOUDS[parts.scheme] + href.partition("://")[2]
    return f"/vsicurl/{href}" if is_web(href) else local_path(href)
