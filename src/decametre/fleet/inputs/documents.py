"""Reading the JSON documents of catalogues and APIs, from a path or a server."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3 import Retry

from decametre.errors import FleetError
from decametre.sentinel2.hrefs import is_web

TIMEOUT = (10.0, 60.0)
"""Seconds that a server has to be reached, and to send something."""

RETRIES = Retry(
    total=2,
    backoff_factor=0.5,
    status_forcelist=(429, 502, 503, 504),
    allowed_methods=None,  # a search is a POST, and as harmless as a GET
)
"""A server that is busy, or away for a moment, is asked again after 0 and 1 second, or when it
says."""


def server_access() -> StacApiIO:
    """How servers are asked; its connections are kept, and threads may share it."""
    logging.getLogger("urllib3.connectionpool").addFilter(_no_retry)
    return StacApiIO(headers={"User-Agent": "decametre"}, timeout=TIMEOUT, max_retries=RETRIES)


def _no_retry(record: logging.LogRecord) -> bool:
    """Keep to ourselves that a server is asked again: if it is in vain, an error says so."""
    return not str(record.msg).startswith("Retrying (")


def read_document(source: str, access: StacApiIO) -> dict[str, Any]:
    """A JSON object.

    Args:
        source: Path, or http(s):// URL.
        access: What asks servers.

    Raises:
        FleetError: It cannot be read, or is none.
    """
    try:
        if is_web(source):
            document = json.loads(access.read_text(source))
        else:
            document = json.loads(Path(source).read_bytes())
    except APIError as error:
        raise FleetError(f"{source}: {reason_of(error)}") from error
    except OSError as error:
        raise FleetError(f"{source}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise FleetError(
            f"{source}: not JSON ({error}); give a STAC ItemCollection, catalog, collection or item"
        ) from error
    if not isinstance(document, dict):
        raise FleetError(f"{source}: JSON, but no object ({type(document).__name__})")
    return document


def reason_of(error: APIError) -> str:
    """Why a server did not do as asked, in few words."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return f"the server answered HTTP {status} {_excerpt(str(error))}".rstrip()
    # requests' error has that of urllib3 in it, which says at its end what the system said.
    cause: object = error.__context__
    while arguments := getattr(cause, "args", ()):
        cause = getattr(arguments[0], "reason", None) or arguments[0]
    return f"cannot be reached ({_excerpt(str(cause or error).rpartition(': ')[2])})"


def _excerpt(answer: str) -> str:
    """What an answer says, without the markup around it."""
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if isinstance(document, dict):
        said = (document.get(key) for key in ("detail", "description", "message", "code"))
        answer = str(next((each for each in said if each), answer))
    elif "<" in answer:
        return ""
    return answer if len(answer) <= 200 else f"{answer[:200]}..."
