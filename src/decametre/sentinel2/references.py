"""What a document from a public server may name: no local file, and no server that is not public.

A STAC document from the internet was written by others. It must not make this machine read its own
files, or request addresses that only this machine can reach, such as the metadata service of a
cloud (server-side request forgery). SECURITY.md states the rule. The user's own files, and servers
inside the user's network, may name anything.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from urllib.parse import urlsplit

from decametre.errors import DocumentError
from decametre.sentinel2.hrefs import is_web

OBJECT_STORAGE = frozenset({"s3", "gs", "gcs", "az", "abfs", "abfss"})
"""Schemes of object storage. The user's environment determines the server."""


def check_reference(origin: str, target: str) -> None:
    """Check that a document may name a file or server.

    Args:
        origin: Path or URL of the document.
        target: The absolute path or URL that it names.

    Raises:
        DocumentError: The document is from a public server, and names a local file, or a server
            whose address is not public.
    """
    if not is_foreign(origin):
        return
    if is_web(target):
        if is_public(_host(target)) is False:
            raise DocumentError(
                f"{origin}: leads to {target}, whose address is not public; download the document, "
                "and check what it names"
            )
    elif urlsplit(target).scheme.lower() not in OBJECT_STORAGE or "::" in target:
        raise DocumentError(
            f"{origin}: names {target}, but a document from a public server may only name http, "
            "https, s3, gs and az URLs; download it, and check what it names"
        )


def is_foreign(origin: str) -> bool:
    """Whether a document is from a server that is not known to be inside the user's network."""
    return is_web(origin) and is_public(_host(origin)) is not False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a malformed IPv6 address
        return ""


@functools.lru_cache(maxsize=1024)
def is_public(host: str) -> bool | None:
    """Whether all addresses of a host are public; None if its name cannot be resolved here.

    Names that only a proxy can resolve are left to the proxy.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        return None
    return all(_is_global(str(address[0])) for *_, address in found)


def _is_global(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])  # without the interface
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_global
    return address.is_global
