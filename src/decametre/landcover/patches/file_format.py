"""The HDF5 file format of a store of patches, and its check on opening.

docs/patches.md describes the format for other readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p

from decametre.errors import PatchError
from decametre.landcover.patches.nomenclature import Nomenclature
from decametre.landcover.patches.patch import LAYOUTS, check_keys
from decametre.sentinel2.bands import BAND_NAMES

FORMAT = "decametre-patches"
VERSION = 1

TEXT_BYTES = {"name": 128, "product": 128, "crs": 64, "split": 16, "country": 32}
"""Data sets of text, and the bytes of UTF-8 that each value may have."""

COLUMNS = ("classes", "origin", "offset", *TEXT_BYTES)
"""All data sets other than the images."""

CHUNK_ROWS = 4096
"""Rows of a chunk of these data sets."""

COMMON = ("nomenclature", "keys", "model", "attribution", "job")
"""What two headers are compared by."""


@dataclass(frozen=True)
class Header:
    """What all patches of a store have in common.

    Attributes:
        nomenclature: The nomenclature of the labels.
        keys: Keys of the images, in the order of `LAYOUTS`.
        model: Ids and checksums of the models that made `data_super`; empty without `data_super`.
        attribution: Source of the data, and their licence.
        job: Command and settings that made the file. A partial file of another job is not resumed.
    """

    nomenclature: Nomenclature
    keys: tuple[str, ...]
    model: str = ""
    attribution: str = ""
    job: str = ""

    def __post_init__(self) -> None:
        check_keys("a store of patches", self.keys)
        object.__setattr__(self, "keys", tuple(key for key in LAYOUTS if key in self.keys))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one patch's entry in each data set."""
        return {
            **{key: LAYOUTS[key].shape for key in self.keys},
            "classes": (len(self.nomenclature.classes),),
            "origin": (2,),
            "offset": (len(BAND_NAMES),),
            **dict.fromkeys(TEXT_BYTES, ()),
        }

    @property
    def patch_bytes(self) -> int:
        """Bytes that one patch takes in the file."""
        images = sum(2 * int(np.prod(LAYOUTS[key].shape)) for key in self.keys)
        columns = len(self.nomenclature.classes) + 16 + 4 * len(BAND_NAMES)
        return images + columns + sum(TEXT_BYTES.values())

    def write_attributes(self, file: h5py.File) -> None:
        """Write the attributes of the file."""
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file.attrs["nomenclature"] = self.nomenclature.name
        file.attrs["class_names"] = list(self.nomenclature.classes)
        file.attrs["model"], file.attrs["attribution"] = self.model, self.attribution
        file.attrs["job"] = self.job

    def allocate_images(self, file: h5py.File, count: int) -> None:
        """Create the image data sets for `count` patches, with all their space on disk.

        Writing patches then only fills this space and never changes the structure of the file, so
        that a kill at any moment leaves a valid file.
        """
        for key in self.keys:
            dataset = self._allocate(file, key, count, "<u2", 1, fill=False)
            dataset.attrs["bands"] = list(LAYOUTS[key].bands)

    def allocate_columns(self, file: h5py.File, count: int) -> None:
        """Create all other data sets; see `allocate_images`."""
        for key, dtype in (("classes", "u1"), ("origin", "<f8"), ("offset", "<i4")):
            self._allocate(file, key, count, dtype, CHUNK_ROWS)
        for key, length in TEXT_BYTES.items():
            self._allocate(file, key, count, h5py.string_dtype("utf-8", length), CHUNK_ROWS)

    def _allocate(
        self,
        file: h5py.File,
        key: str,
        count: int,
        dtype: Any,
        chunk_rows: int,
        *,
        fill: bool = True,
    ) -> h5py.Dataset:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        if not fill:  # unwritten images stay holes in the file, which take no space on disk
            properties.set_fill_time(h5d.FILL_TIME_NEVER)
        shape = self.shapes[key]
        return file.create_dataset(
            key,
            (count, *shape),
            dtype,
            chunks=(min(chunk_rows, count), *shape),
            maxshape=(None, *shape),
            dcpl=properties,
        )

    @staticmethod
    def read(file: h5py.File, path: Path) -> Header:
        """Read the header of a file and check the format of the file.

        Raises:
            PatchError: The file is not a store of patches, or violates the format.
        """
        if file.attrs.get("format") != FORMAT:
            raise PatchError(
                f"{path} is an HDF5 file, but no store of patches (its attribute 'format' is not "
                f"'{FORMAT}'); make one with `decametre patches`"
            )
        version = int(_attribute(file, "version", path))
        if version != VERSION:
            raise PatchError(
                f"{path} is in version {version} of the format; this release reads version "
                f"{VERSION}"
            )
        classes = tuple(str(name) for name in _attribute(file, "class_names", path))
        try:
            nomenclature = Nomenclature(str(_attribute(file, "nomenclature", path)), classes)
        except PatchError as error:
            raise PatchError(f"{path}: {error}") from error
        keys = tuple(key for key in LAYOUTS if key in file)
        check_keys(str(path), keys)
        texts = [str(_attribute(file, key, path)) for key in ("model", "attribution", "job")]
        header = Header(nomenclature, keys, *texts)
        header._check_shapes(file, path)
        for key in keys:
            _check_image(file[key], key, path)
        return header

    def _check_shapes(self, file: h5py.File, path: Path) -> None:
        for key in self.shapes:
            if key not in file:
                raise PatchError(f"{path} has no data set '{key}'; make the file again")
            if not isinstance(file.get(key, getlink=True), h5py.HardLink) or file[key].external:
                raise PatchError(
                    f"{path}: '{key}' lies in another file; merge stores by `decametre patches "
                    "merge`"
                )
        length = len(file["name"])
        if not length:
            raise PatchError(f"{path} holds no patch; make the file again")
        for key, shape in self.shapes.items():
            if file[key].shape != (length, *shape):
                raise PatchError(
                    f"{path}: '{key}' has shape {file[key].shape}, expected {(length, *shape)}"
                )
        # Otherwise reading a column would take memory that the file only claims.
        columns = sum(file[key].nbytes for key in self.shapes if key not in self.keys)
        if columns > (size := path.stat().st_size):
            raise PatchError(
                f"{path}: {length} patches need {columns} bytes, but the file has {size}; make the "
                "file again"
            )

    def difference(self, other: Header) -> str:
        """Describe the first difference between two headers; empty if they are equal."""
        for name in COMMON:
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                shown = [v.name if isinstance(v, Nomenclature) else str(v) for v in (mine, others)]
                return f"{name} '{shown[0]}', not '{shown[1]}'"
        return ""


def _attribute(place: h5py.HLObject, key: str, path: Path) -> Any:
    if key not in place.attrs:
        raise PatchError(
            f"{path}: {place.name} has no attribute '{key}'; make the file again with "
            "`decametre patches`"
        )
    return place.attrs[key]


def _check_image(dataset: h5py.Dataset, key: str, path: Path) -> None:
    layout = LAYOUTS[key]
    bands = tuple(str(name) for name in _attribute(dataset, "bands", path))
    if bands != layout.bands:
        raise PatchError(
            f"{path}: '{key}' holds the bands {' '.join(bands)}, expected "
            f"{' '.join(layout.bands)}; make the file again"
        )
    if dataset.dtype != np.dtype("<u2"):
        raise PatchError(f"{path}: '{key}' is {dataset.dtype}, expected uint16")
    # Raw chunks are read, so they must hold one patch each, uncompressed.
    filters = dataset.id.get_create_plist().get_nfilters()
    if not dataset.is_virtual and (filters or dataset.chunks != (1, *layout.shape)):
        raise PatchError(
            f"{path}: '{key}' is compressed, or its chunks are not one patch each; make the file "
            "again"
        )


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn the errors of h5py about a damaged file into a PatchError."""
    try:
        yield
    # HDF5 raises these types for addresses, types, texts and sizes that cannot be.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PatchError(f"{path} is damaged ({reason}); make the file again") from error


def open_store(path: Path) -> h5py.File:
    """Open a completed store for reading.

    Raises:
        PatchError: The file is missing, or not HDF5.
    """
    if not path.is_file():
        raise PatchError(f"{path}: no such file")
    try:
        # A completed store never changes, and many file systems of clusters have no locks.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise PatchError(f"{path} is no HDF5 file, or truncated ({error})") from error
