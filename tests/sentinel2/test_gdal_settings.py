import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio

from decametre.sentinel2 import gdal_settings

BUNDLED = Path(rasterio.__file__).parent / "proj_data"
SCRIPT = """
import rasterio.env
from decametre.sentinel2.gdal_settings import IGNORED_VARIABLES
with rasterio.Env() as env:
    drivers = env.drivers()
    print(rasterio.CRS.from_epsg(32631).to_epsg(), "JP2OpenJPEG" in drivers, *IGNORED_VARIABLES)
"""


@pytest.mark.skipif(not BUNDLED.is_dir(), reason="this build of rasterio has no data of its own")
def test_variables_of_other_installations_are_ignored(tmp_path):
    shutil.copy(BUNDLED / "proj.db", tmp_path)
    with sqlite3.connect(tmp_path / "proj.db") as database:
        database.execute(
            "update metadata set value = '0' where key = 'DATABASE.LAYOUT.VERSION.MINOR'"
        )
    variables = {
        "PROJ_DATA": str(tmp_path),
        "PROJ_LIB": "/nowhere",
        "GDAL_DATA": "/nowhere",
        "GDAL_DRIVER_PATH": "/nowhere",
        "GDAL_SKIP": "JP2OpenJPEG",
    }
    command = [sys.executable, "-c", SCRIPT]
    result = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["32631", "True", *variables]


def test_variables_are_named_where_they_may_be_the_cause(monkeypatch):
    for name in gdal_settings.FOREIGN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert gdal_settings.foreign_variables() == ""
    monkeypatch.setenv("PROJ_DATA", "/conda")
    assert "PROJ_DATA may point to another GDAL or PROJ" in gdal_settings.foreign_variables()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_gdal_uses_the_same_certificates_as_requests(monkeypatch, name):
    for other in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GDAL_CURL_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    assert gdal_settings._certificates() == {}
    monkeypatch.setenv(name, "/company.pem")
    assert gdal_settings._certificates() == {"GDAL_CURL_CA_BUNDLE": "/company.pem"}
    monkeypatch.setenv("GDAL_CURL_CA_BUNDLE", "/other.pem")
    assert gdal_settings._certificates() == {}


def test_threads_follow_the_available_cores(monkeypatch):
    monkeypatch.delenv("GDAL_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 6}, raising=False)
    assert gdal_settings.thread_count() == 3
    monkeypatch.setenv("GDAL_NUM_THREADS", "7")
    assert gdal_settings.thread_count() == 7
