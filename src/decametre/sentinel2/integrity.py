"""Detecting damaged band files that GDAL would decode without an error.

A JPEG 2000 decoder takes zeros for empty packets, so a file with a hole, as an interrupted download
leaves it, decodes to wrong pixels. GDAL does not check the checksums of zip members either.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
import zlib
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

from decametre.errors import CorruptDataError
from decametre.sentinel2.zip_files import open_zip

CHUNK_BYTES = 1 << 20
MAX_MEMBER_BYTES = 1 << 30
"""Size limit of an unpacked band file; the uncompressed pixels of a 10 m band have 241 MB."""

HOLE_BYTES = 4096
"""Length of a run of zeros that compressed data do not contain."""

_HOLE = bytes(HOLE_BYTES)
_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_END_OF_CODESTREAM = b"\xff\xd9"


def check_file(path: str, checksum: str | None = None) -> None:
    """Check a local JPEG 2000 file or zip member; others are left to GDAL.

    A file is checked once per process, as long as it does not change.

    Args:
        path: GDAL's name of the file.
        checksum: Its checksum in the product's manifest, such as `md5:5d41...`.

    Raises:
        CorruptDataError: It is truncated, has a hole of zeros, or differs from a checksum.
    """
    archive, _, member = path.removeprefix("/vsizip/{").partition("}/")
    if not path.startswith("/vsi"):
        archive, member = path, ""
    elif not path.startswith("/vsizip/{"):
        return
    try:
        state = Path(archive).stat()
        _check(archive, member, checksum, state.st_size, state.st_mtime_ns)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CorruptDataError(f"{path} cannot be read ({error}); download it again") from error


@functools.lru_cache(maxsize=1024)
def _check(archive: str, member: str, checksum: str | None, size: int, modified: int) -> None:
    if not member:
        with Path(archive).open("rb") as file:
            _check_stream(file, archive, size, checksum)
        return
    with open_zip(Path(archive)) as packed, packed.open(member) as file:  # checks the CRC
        member_size = packed.getinfo(member).file_size
        if member_size > MAX_MEMBER_BYTES:
            raise CorruptDataError(
                f"{member} in {archive} unpacks to {member_size >> 20} MB, more than a band of "
                f"{MAX_MEMBER_BYTES >> 20}; download it again"
            )
        _check_stream(file, f"{member} in {archive}", member_size, checksum)


def _check_stream(file: IO[bytes], where: str, size: int, checksum: str | None) -> None:
    head = file.read(CHUNK_BYTES)
    end = _codestream_end(head, size) if head.startswith(_SIGNATURE) else None
    if end is None and not checksum and not isinstance(file, zipfile.ZipExtFile):
        return
    algorithm, _, expected = (checksum or "md5:").partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    last = b""  # the two bytes before the end of the codestream
    position, rest = 0, b""  # `rest` is the end of the previous chunk
    for chunk in chain([head], iter(partial(file.read, CHUNK_BYTES), b"")):
        if checksum:
            digest.update(chunk)
        if end is not None:
            text, start = rest + chunk, position - len(rest)
            hole = text.find(_HOLE)
            if hole >= 0:
                raise CorruptDataError(
                    f"{where} has a hole of zeros at byte {start + hole}; download it again"
                )
            if position < end <= position + len(chunk):
                last = text[: end - start][-2:]
            position, rest = position + len(chunk), text[1 - HOLE_BYTES :]
    if end is not None and last != _END_OF_CODESTREAM:
        raise CorruptDataError(f"{where} is truncated; download it again")
    if checksum and digest.hexdigest() != expected.lower():
        raise CorruptDataError(
            f"{where} differs from its {algorithm.upper()} checksum in manifest.safe; download the "
            "product again"
        )


def _codestream_end(head: bytes, size: int) -> int | None:
    """Where the codestream of a JPEG 2000 file ends; None if the head does not contain its start.

    Args:
        head: Start of the file, a sequence of boxes (ISO/IEC 15444-1, annex I).
        size: Size of the file.
    """
    start = 0
    while start + 16 <= len(head):
        length = int.from_bytes(head[start : start + 4])
        if length == 1:
            length = int.from_bytes(head[start + 8 : start + 16])
        if head[start + 4 : start + 8] == b"jp2c":
            return start + length if length else size
        if length < 8:
            return size
        start += length
    return None
