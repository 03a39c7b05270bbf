"""The file format of a store of patches: what is in it, and the check that it is all there.

docs/patches.md describes the format for other readers.
"""

from __future__ import annotations

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

TEXTS = {"name": 128, "product": 128, "crs": 64, "split": 16, "country": 32}
"""Data sets of text, and how many bytes of UTF-8 each holds."""

ROWS = 4096
"""Rows of a chunk of the data sets beside the images."""


@dataclass(frozen=True)
class Header:
    """What is true of all patches of a store.

    Attributes:
        nomenclature: Of the labels.
        keys: Of the images, in the order of `LAYOUTS`.
        model: Id and checksum of what sharpened `data_super`; empty where nothing did.
        attribution: Whose data these are, and under which licence.
        job: What made the file: a command with its settings. A partial file of another job is not
                gone on with.
    """

    nomenclature: Nomenclature
    keys: tuple[str, ...]
    model: str = ""
    attribution: str = ""
    job: str = ""

    def __post_init__(self) -> None:
        check_keys("a store of patches", self.keys)
        object.__setattr__(self, "keys", tuple(key for key in LAYOUTS if key in self.keys))

    def describe(self, file: h5py.File) -> None:
        """Write the attributes."""
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file.attrs["nomenclature"] = self.nomenclature.name
        file.attrs["class_names"] = list(self.nomenclature.classes)
        file.attrs["model"], file.attrs["attribution"] = self.model, self.attribution
        file.attrs["job"] = self.job

    def allot_images(self, file: h5py.File, count: int) -> None:
        """Make empty data sets for the images of so many patches.

        All room is allotted at once. What follows only fills it, and leaves the file's own
        structure as it is: a run may be killed at any moment, and the file stays sound.
        """
        for key in self.keys:
            shape = LAYOUTS[key].shape
            dataset = _allotted(file, key, (count, *shape), "<u2", (1, *shape), fill=False)
            dataset.attrs["bands"] = list(LAYOUTS[key].bands)

    def allot_columns(self, file: h5py.File, count: int) -> None:
        """Make the empty data sets beside the images; see `allot_images`."""
        columns = len(self.nomenclature.classes)
        _allotted(file, "classes", (count, columns), "u1", (ROWS, columns))
        _allotted(file, "origin", (count, 2), "<f8", (ROWS, 2))
        _allotted(file, "offset", (count, len(BAND_NAMES)), "<i4", (ROWS, len(BAND_NAMES)))
        for key, length in TEXTS.items():
            _allotted(file, key, (count,), h5py.string_dtype("utf-8", length), (ROWS,))

    @staticmethod
    def read(file: h5py.File, path: Path) -> Header:
        """The header of a file, all of it checked.

        Raises:
            PatchError: The file is no store of patches, or breaks the format.
        """

        def attribute(place: h5py.HLObject, key: str) -> Any:
            if key not in place.attrs:
                raise PatchError(
                    f"{path}: {place.name} has no attribute '{key}'; make the file anew with "
                    "`decametre patches`"
                )
            return place.attrs[key]

        if file.attrs.get("format") != FORMAT:
            raise PatchError(
                f"{path} is an HDF5 file, but no store of patches (its attribute 'format' is not "
                f"'{FORMAT}'); make one with `decametre patches`"
            )
        version = int(attribute(file, "version"))
        if version != VERSION:
            raise PatchError(
                f"{path} is in version {version} of the format, this decametre reads version "
                f"{VERSION}"
            )
        classes = tuple(str(name) for name in attribute(file, "class_names"))
        try:
            nomenclature = Nomenclature(str(attribute(file, "nomenclature")), classes)
        except PatchError as error:
            raise PatchError(f"{path}: {error}") from error
        keys = tuple(key for key in LAYOUTS if key in file)
        check_keys(str(path), keys)
        texts = [str(attribute(file, key)) for key in ("model", "attribution", "job")]
        shapes: dict[str, tuple[int, ...]] = {
            "classes": (len(classes),),
            "origin": (2,),
            "offset": (len(BAND_NAMES),),
            **dict.fromkeys(TEXTS, ()),
            **{key: LAYOUTS[key].shape for key in keys},
        }
        for key in shapes:
            if key not in file:
                raise PatchError(f"{path} has no data set '{key}'; make the file anew")
        if not len(file["name"]):
            raise PatchError(f"{path} holds no patch; make the file anew")
        for key, shape in shapes.items():
            found = (len(file["name"]), *shape)
            if file[key].shape != found:
                raise PatchError(f"{path}: '{key}' is of shape {file[key].shape}, not {found}")
        for key in keys:
            bands = tuple(str(name) for name in attribute(file[key], "bands"))
            if bands != LAYOUTS[key].bands:
                raise PatchError(
                    f"{path}: '{key}' holds the bands {' '.join(bands)}, expected "
                    f"{' '.join(LAYOUTS[key].bands)}; make the file anew"
                )
            if file[key].dtype != np.dtype("<u2"):
                raise PatchError(f"{path}: '{key}' is {file[key].dtype}, expected uint16")
            # Chunks are read as they stand in the file.
            filtered = file[key].id.get_create_plist().get_nfilters()
            if not file[key].is_virtual and (filtered or file[key].chunks != (1, *shapes[key])):
                raise PatchError(
                    f"{path}: '{key}' is compressed, or not chunked a patch at a time; make the "
                    "file anew"
                )
        return Header(nomenclature, keys, *texts)

    def difference(self, other: Header) -> str:
        """What of two headers differs, in a few words; empty where nothing does."""
        for what in ("nomenclature", "keys", "model", "attribution", "job"):
            one, two = getattr(self, what), getattr(other, what)
            if one != two:
                shown = [v.name if isinstance(v, Nomenclature) else str(v) for v in (one, two)]
                return f"{what} '{shown[0]}', not '{shown[1]}'"
        return ""

    @property
    def patch_bytes(self) -> int:
        """What a patch takes in the file."""
        images = sum(2 * int(np.prod(LAYOUTS[key].shape)) for key in self.keys)
        rest = len(self.nomenclature.classes) + 16 + 4 * len(BAND_NAMES) + sum(TEXTS.values())
        return images + rest


COLUMNS = ("classes", "origin", "offset", *TEXTS)
"""The data sets beside the images."""


def _allotted(
    file: h5py.File,
    key: str,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...],
    *,
    fill: bool = True,
) -> h5py.Dataset:
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    if not fill:  # what is not written stays a hole that takes no room on the disk
        properties.set_fill_time(h5d.FILL_TIME_NEVER)
    chunks = (min(chunks[0], shape[0]), *chunks[1:])
    return file.create_dataset(
        key, shape, dtype, chunks=chunks, maxshape=(None, *shape[1:]), dcpl=properties
    )


def open_store(path: Path) -> h5py.File:
    """Open a finished store to read.

    Raises:
        PatchError: It is missing, or no HDF5 file.
    """
    if not path.is_file():
        raise PatchError(f"{path}: no such file")
    try:
        # A finished store never changes, and many file systems of clusters have no locks.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise PatchError(f"{path} is no HDF5 file, or truncated ({error})") from error
