"""Opening Zarr hierarchies, and reading windows of their arrays.

Both Zarr formats (2 and 3) are read by the `zarr` package: folders, zips, and stores on servers or
in object storage by fsspec. zarr is an optional dependency and is imported where it is used.
"""

from __future__ import annotations

import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from decametre.errors import CorruptDataError, NotAProductError
from decametre.extras import check_extra
from decametre.sentinel2.grid import Window
from decametre.sentinel2.hrefs import is_remote
from decametre.sentinel2.zip_files import open_zip

if TYPE_CHECKING:
    import zarr

MAX_CHUNK_BYTES = 1 << 29
"""Size limit of a decoded chunk; a complete 10 m band has 241 MB."""

CACHE_BYTES = 32 << 20
"""Decoded chunks that are kept for each band, if windows cover only parts of them."""

_OBJECT_STORAGE = ("s3", "gs", "gcs", "az", "abfs", "abfss")
_METADATA = ("zarr.json", ".zgroup", ".zmetadata")
_ROOT = re.compile(r"(?P<root>.+?\.zarr(?:\.zip)?)(?:/.*)?", re.IGNORECASE)


def zarr_root(href: str) -> str | None:
    """The root of the hierarchy in a path or URL of one of its groups or arrays, or None.

    Args:
        href: Such as `https://server/X.zarr/measurements/reflectance/r10m/b02`.
    """
    if urlsplit(href).query:
        return None
    match = _ROOT.fullmatch(href)
    return match["root"] if match else None


def is_zarr(path: Path) -> bool:
    """Whether a local folder or zip holds a Zarr hierarchy; only names are read."""
    if path.is_dir():
        return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _METADATA)
    return path.suffix.lower() == ".zip" and _zip_root(path) is not None


def open_hierarchy(source: str) -> zarr.Group:
    """Open the root group of a Zarr hierarchy for reading.

    Args:
        source: Path of a folder or zip, or URL (http, https, s3, ...).

    Raises:
        MissingExtraError: zarr, or the package for this kind of URL, is not installed.
        NotAProductError: It does not exist, or is not a Zarr group.
        CorruptDataError: Its metadata are damaged.
    """
    in_objects = source.partition("://")[0].lower() in _OBJECT_STORAGE
    check_extra("(Zarr products in object storage)" if in_objects else "(Zarr products)")
    import zarr

    try:
        store, path = _store(source)
        return zarr.open_group(store, path=path, mode="r")
    except FileNotFoundError as error:  # zarr's error if there is no group
        raise NotAProductError(
            f"{source}: no Zarr group (zarr.json or .zgroup) in it; give the folder, zip or URL of "
            "the complete product, X.zarr"
        ) from error
    except Exception as error:  # zarr, fsspec and its file systems raise many types
        raise CorruptDataError(
            f"{source}: cannot be opened as Zarr ({describe_error(error)}); check the address and "
            "the rights, or download it again",
            transient=is_remote(source),
        ) from error


def _store(source: str) -> tuple[Any, str]:
    """The store of a hierarchy, and the path of its root in the store."""
    from zarr.storage import FsspecStore, LocalStore, ZipStore

    if is_remote(source):
        return FsspecStore.from_url(source.rstrip("/"), read_only=True), ""
    path = Path(source)
    if path.is_dir():
        return LocalStore(path, read_only=True), ""
    return ZipStore(path, mode="r", read_only=True), _zip_root(path) or ""


def _zip_root(path: Path) -> str | None:
    """Folder of the uppermost Zarr metadata in a zip; None if there are none."""
    try:
        with open_zip(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None
    return _uppermost(name for name in names if name.rpartition("/")[2] in _METADATA)


def _uppermost(names: Iterable[str]) -> str | None:
    folders = {name.rpartition("/")[0] for name in names}
    return min(folders, key=lambda folder: (len(Path(folder).parts), folder), default=None)


def find_array(root: zarr.Group, path: str) -> zarr.Array[Any] | None:
    """The array at a path in a hierarchy; None if there is none.

    Raises:
        CorruptDataError: Its metadata are damaged, or a group has its place.
    """
    import zarr

    try:
        found = root.get(path)
    except Exception as error:  # zarr and file systems raise many types
        raise CorruptDataError(
            f"{path}: its metadata cannot be read ({describe_error(error)}); download it again"
        ) from error
    if isinstance(found, zarr.Group):
        raise CorruptDataError(f"{path}: a Zarr group, expected an array; download it again")
    return found


def attributes_of(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """The attributes of a group or array.

    Raises:
        CorruptDataError: They are damaged.
    """
    try:
        return {str(key): value for key, value in node.attrs.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise CorruptDataError(
            f"{node.name}: its attributes cannot be read ({describe_error(error)}); download it "
            "again"
        ) from error


def describe_error(error: BaseException) -> str:
    """The reason of an error of zarr or fsspec, as short text."""
    return f"{type(error).__name__}: {error}"[:200].rstrip(": ")


@dataclass(frozen=True)
class ZarrImage:
    """A band in a Zarr array; see `BandImage`. Threads may share it.

    Attributes:
        name: Name of the band, for messages.
        array: Two-dimensional.
        where: Path or URL of the array, for messages.
    """

    name: str
    array: zarr.Array[Any]
    where: str
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _kept: OrderedDict[tuple[int, int], np.ndarray] = field(
        default_factory=OrderedDict, repr=False, compare=False
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return tuple(self.array.shape)

    @property
    def block_rows(self) -> int:
        """Rows of a chunk."""
        return int(self.array.chunks[0])

    def read(self, window: Window) -> np.ndarray:
        """The pixels in a window in native pixels; every chunk is decoded once.

        Raises:
            CorruptDataError: A chunk is damaged, or cannot be reached.
        """
        pixels = np.empty((window.height, window.width), self.array.dtype.newbyteorder("="))
        rows, cols = self.array.chunks
        for row in range(window.row // rows, -(-window.bottom // rows)):
            for col in range(window.col // cols, -(-window.right // cols)):
                chunk = Window(col * cols, row * rows, cols, rows)
                common = chunk.intersection(window)
                into = pixels[common.relative_to(window).slices]
                into[:] = self._chunk(row, col, keep=common != chunk)[
                    common.relative_to(chunk).slices
                ]
        return pixels

    def _chunk(self, row: int, col: int, keep: bool) -> np.ndarray:
        """Decode a chunk, or take it from those that are kept.

        Args:
            row: Number of its row of chunks.
            col: Number of its column of chunks.
            keep: Whether later windows probably need it again.
        """
        with self._lock:
            if (row, col) in self._kept:
                self._kept.move_to_end((row, col))
                return self._kept[row, col]
        rows, cols = self.array.chunks
        at = slice(row * rows, (row + 1) * rows), slice(col * cols, (col + 1) * cols)
        try:
            chunk = np.asarray(self.array[at])
        except Exception as error:  # codecs and file systems raise many types
            raise CorruptDataError(
                f"band {self.name}: chunk {row}, {col} of {self.where} cannot be read "
                f"({describe_error(error)}); download it again",
                transient=is_remote(self.where),
            ) from error
        if keep:
            with self._lock:
                self._kept[row, col] = chunk
                while len(self._kept) > 1 and len(self._kept) * chunk.nbytes > CACHE_BYTES:
                    self._kept.popitem(last=False)
        return chunk
