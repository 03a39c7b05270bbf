"""Zips that others wrote."""

import os
import stat
import zipfile

import numpy as np
import pytest

from decametre.bench.synthetic_safe import make_safe, zip_safe
from decametre.errors import CorruptDataError, DecametreError
from decametre.sentinel2 import integrity
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.zip_files import open_zip


@pytest.fixture
def safe(tmp_path):
    image = np.random.default_rng(1).integers(1, 9000, (60, 60), "uint16")
    return make_safe(tmp_path, {"B02": image})


def write_end(path, size, large=None):
    """The end of a zip whose list of members is said to take `size` bytes."""
    end = b"PK\5\6" + bytes(4) + b"\1\0\1\0" + size.to_bytes(4, "little") + bytes(6)
    if large is not None:
        end = b"PK\6\6" + bytes(36) + large.to_bytes(8, "little") + bytes(8) + end
    path.write_bytes(b"PK\3\4" + bytes(100) + end)


@pytest.mark.parametrize("sizes", [(1 << 30,), (0xFFFFFFFF, 1 << 40)])
def test_a_list_of_members_that_is_too_large(tmp_path, sizes):
    path = tmp_path / "large.zip"
    write_end(path, *sizes)
    with pytest.raises(zipfile.BadZipFile, match="its list of members takes"):
        open_zip(path)
    with pytest.raises(CorruptDataError, match="its list of members takes"):
        open_product(path)


def test_a_band_that_unpacks_to_too_much(safe, monkeypatch):
    product = open_product(zip_safe(safe))
    monkeypatch.setattr(integrity, "MAX_MEMBER_BYTES", 1000)
    integrity._check.cache_clear()
    with (
        BandReader(product, ["B02"]) as reader,
        pytest.raises(CorruptDataError, match="more than a band of"),
    ):
        reader.read("B02", product.grid.window)


def test_a_link_in_a_zip_is_not_followed(safe, tmp_path):
    """A member that is a symbolic link to a file outside is read as its text, which is no image."""
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in safe.rglob("*"):
            if not file.is_file():
                continue
            name = file.relative_to(safe.parent).as_posix()
            if file.suffix == ".jp2":
                link = zipfile.ZipInfo(name)
                link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                archive.writestr(link, os.fspath(file))
            else:
                archive.write(file, name)
    with pytest.raises(DecametreError, match=r"cannot open|not an image"):
        open_product(path)
