"""Settings of GDAL and PROJ: options, drivers, threads, certificates, environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import rasterio
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from decametre.sentinel2.documents import certificate_file

FOREIGN_VARIABLES = ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH", "GDAL_SKIP")
"""Environment variables that other installations (conda, OSGeo, PostGIS) set for their own GDAL."""


def ignore_foreign_variables() -> tuple[str, ...]:
    """Remove variables of other installations from the environment of this process.

    rasterio's wheels contain matching data of GDAL and PROJ, and rasterio uses them if these
    variables are not set. They stay set for other builds of rasterio, which may need them.

    Returns:
        Names of the removed variables.
    """
    if not (Path(rasterio.__file__).parent / "proj_data").is_dir():
        return ()
    return tuple(name for name in FOREIGN_VARIABLES if os.environ.pop(name, None) is not None)


def foreign_variables() -> str:
    """A remark on these variables for error messages; empty if none is set."""
    names = ", ".join(name for name in FOREIGN_VARIABLES if name in os.environ)
    return f"; {names} may point to another GDAL or PROJ installation, unset it" if names else ""


def driver_of(path: str) -> str:
    """The GDAL driver of a band file, by the end of its name: JPEG 2000, otherwise GeoTIFF.

    GDAL itself would also accept a virtual raster by its content, and one in an untrusted product
    could read any file or host.

    Args:
        path: GDAL's name of the file.
    """
    if path.startswith("/vsicurl"):  # a URL, possibly with a query
        path = unquote(path.rpartition("&url=")[2]).partition("?")[0]
    return "JP2OpenJPEG" if path.lower().endswith((".jp2", ".j2k")) else "GTiff"


def is_transient(path: str, reason: str = "") -> bool:
    """Whether a file that GDAL cannot read now may be readable later.

    Args:
        path: GDAL's name of the file.
        reason: GDAL's message; empty while pixels are read, when it does not name the cause.
    """
    return path.startswith(_REMOTE) and (not reason or bool(_PASSING.search(reason)))


def thread_count() -> int:
    """Number of threads that decode or compress in parallel.

    It is the number in the environment variable `GDAL_NUM_THREADS`, which processes that share a
    machine can set. By default it is the number of available CPU cores.
    """
    stated = os.environ.get("GDAL_NUM_THREADS", "")
    return max(1, int(stated)) if stated.isdigit() else available_cores()


def available_cores() -> int:
    """Number of CPU cores that this process may use; containers and schedulers restrict them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _certificates() -> dict[str, str]:
    """The user's certificates for GDAL, by default those of the `certifi` package."""
    # rasterio sets the variable to certifi's file unless the user has set it.
    stated = os.environ.get("GDAL_CURL_CA_BUNDLE", DEFAULT_CA_BUNDLE_PATH)
    user_file = certificate_file()
    if user_file and stated == DEFAULT_CA_BUNDLE_PATH:
        return {"GDAL_CURL_CA_BUNDLE": user_file}
    return {}


_REMOTE = ("/vsicurl", "/vsis3/", "/vsigs/", "/vsiaz/")
_PASSING = re.compile(r"CURL error|response code: (0|408|429|5\d\d)\b|timed out", re.IGNORECASE)
"""Messages about remote files that may be readable later."""

IGNORED_VARIABLES = ignore_foreign_variables()
"""Variables that were removed from the environment of this process."""

GDAL_OPTIONS: Mapping[str, Any] = {
    # A STAC asset's neighbours are never needed; listing its folder costs requests.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 1,
    # Seconds. By default, a server that does not respond blocks the job forever.
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_TIMEOUT": 300,
    # With more, GDAL decodes JPEG 2000 tiles in threads whose errors are lost: a truncated file
    # gives wrong pixels. Bands are read in parallel in separate threads instead.
    "GDAL_NUM_THREADS": 1,
    # Bytes. GDAL's default of 5 % of the machine's memory is unbounded on large machines.
    "GDAL_CACHEMAX": 256 << 20,
    **_certificates(),
}
"""GDAL settings for every read and write."""
