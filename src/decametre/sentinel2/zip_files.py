"""Opening zips that others wrote, with limits."""

from __future__ import annotations

import zipfile
from pathlib import Path

MAX_DIRECTORY_BYTES = 64 << 20
"""Size limit of the list of members, which is read into memory. Products have up to 1 MB."""

_END, _END_64 = b"PK\5\6", b"PK\6\6"


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip for reading.

    Raises:
        OSError: It cannot be read.
        zipfile.BadZipFile: It is damaged, or lists more than `MAX_DIRECTORY_BYTES` of members.
        ValueError, NotImplementedError: See `zipfile.ZipFile`.
    """
    size = _directory_bytes(path)
    if size > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(
            f"its list of members takes {size >> 20} MB, more than {MAX_DIRECTORY_BYTES >> 20}"
        )
    return zipfile.ZipFile(path)


def _directory_bytes(path: Path) -> int:
    """Size of the list of members, as the end of the zip states it; 0 if it states none."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - (1 << 16) - 100)
        file.seek(start)
        tail = file.read()
    at, large = tail.rfind(_END), tail.rfind(_END_64)
    sizes = [0]
    if at >= 0:
        stated = int.from_bytes(tail[at + 12 : at + 16], "little")
        sizes.append(stated if stated < 0xFFFFFFFF else 0)
    if large >= 0:
        sizes.append(int.from_bytes(tail[large + 40 : large + 48], "little"))
    return max(sizes)
