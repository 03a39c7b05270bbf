"""Damage that GDAL decodes without an error."""

import zipfile

import numpy as np
import pytest

from decametre.bench.synthetic_safe import make_safe, zip_safe
from decametre.errors import CorruptDataError
from decametre.sentinel2.integrity import check_file


@pytest.fixture(scope="module")
def band_bytes(tmp_path_factory):
    image = np.random.default_rng(1).integers(1, 9000, (216, 216), "uint16")
    safe = make_safe(tmp_path_factory.mktemp("safe"), {"B01": image})
    return next(safe.rglob("*_B01.jp2")).read_bytes()


def damaged(content: bytes, kind: str) -> bytes:
    half, size = len(content) // 2, len(content)
    return {
        "tail of zeros": content[: size * 9 // 10] + bytes(size - size * 9 // 10),
        "last bytes": content[:-2] + bytes(2),
        "hole": content[:half] + bytes(4096) + content[half + 4096 :],
        "truncated": content[: size * 9 // 10],
    }[kind]


@pytest.mark.parametrize("kind", ["tail of zeros", "last bytes", "hole", "truncated"])
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_jpeg_2000(tmp_path, band_bytes, kind, packed):
    path = tmp_path / "B01.jp2"
    path.write_bytes(damaged(band_bytes, kind))
    name = str(path)
    if packed:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.write(path, "x/B01.jp2")
        name = f"/vsizip/{{{tmp_path / 'x.zip'}}}/x/B01.jp2"
    with pytest.raises(CorruptDataError, match=r"B01.jp2.* (hole of zeros|truncated)"):
        check_file(name)


def test_intact_jpeg_2000(tmp_path, band_bytes):
    path = tmp_path / "B01.jp2"
    path.write_bytes(band_bytes)
    check_file(str(path))


def test_boxes_after_the_codestream_are_allowed(tmp_path, band_bytes):
    start = band_bytes.index(b"jp2c") - 4
    length = len(band_bytes) - start
    box = length.to_bytes(4) + band_bytes[start + 4 :]
    path = tmp_path / "B01.jp2"
    path.write_bytes(band_bytes[:start] + box + (12).to_bytes(4) + b"xml ....")
    check_file(str(path))


@pytest.mark.parametrize(
    ("checksum", "right"),
    [
        ("md5:900150983cd24fb0d6963f7d28e17f72", True),
        ("md5:900150983CD24FB0D6963F7D28E17F72", True),
        ("md5:00000000000000000000000000000000", False),
        ("sha3_256:3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532", True),
        ("sha3_256:0a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532", False),
    ],
)
def test_checksum_of_the_manifest(tmp_path, checksum, right):
    path = tmp_path / "B01.tif"
    path.write_bytes(b"abc")
    if right:
        check_file(str(path), checksum)
    else:
        with pytest.raises(CorruptDataError, match=r"B01.tif differs from its .* checksum"):
            check_file(str(path), checksum)


def test_zip_member_with_a_wrong_checksum(tmp_path):
    image = np.random.default_rng(1).integers(1, 9000, (60, 60), "uint16")
    packed = zip_safe(make_safe(tmp_path, {"B01": image}), zipfile.ZIP_STORED)
    with zipfile.ZipFile(packed) as archive:
        member = next(each for each in archive.infolist() if each.filename.endswith(".jp2"))
    content = bytearray(packed.read_bytes())
    position = content.index(b"jp2c", member.header_offset) + member.file_size // 2
    content[position] ^= 1
    packed.write_bytes(content)
    with pytest.raises(CorruptDataError, match="Bad CRC-32"):
        check_file(f"/vsizip/{{{packed}}}/{member.filename}")


def test_remote_files_and_other_formats_are_left_to_gdal(tmp_path):
    check_file("/vsicurl/https://host/B01.jp2")
    (tmp_path / "B01.tif").write_bytes(bytes(8192))
    check_file(str(tmp_path / "B01.tif"))
