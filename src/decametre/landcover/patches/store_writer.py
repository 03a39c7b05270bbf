"""Write a store of patches so that a killed run can resume it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from decametre.errors import OutputError, PatchError, UnknownNameError
from decametre.files import check_parent, check_space
from decametre.landcover.patches.file_format import TEXT_BYTES, Header
from decametre.landcover.patches.patch import Patch
from decametre.text import counted

log = logging.getLogger(__name__)


class PatchWriter:
    """Write a store in batches; a context manager.

    The file grows next to the output as `.NAME.partial` and is renamed when the `with` block ends
    without an error. After an error or a kill the partial file remains, and the next writer with
    the same output, header and count resumes it: `names` lists the patches that are already there.

    Args:
        path: The store to write.
        header: What all patches have in common.
        count: Largest number of patches that will be written.
        overwrite: Allow `path` to exist.

    Attributes:
        length: Number of patches written so far.
        names: Their names.

    Raises:
        OutputError: The folder is missing or not writable, the output exists, there is too little
            space, another run writes the store, or the partial file has other settings.
        PatchError: `count` is 0.
    """

    length: int
    names: set[str]

    def __init__(self, path: Path, header: Header, count: int, *, overwrite: bool = False) -> None:
        self.path, self.header, self.count = path, header, count
        self.partial = path.parent / f".{path.name}.partial"
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file name such as {path}/patches.h5")
        check_parent(path, writable=True)
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists already; use --overwrite to replace it")
        if not count:
            raise PatchError(f"{path}: no patch to write")

    def __enter__(self) -> Self:
        if not self.partial.exists():
            self._create()
        self._file = self._open(self.partial, "r+")
        try:
            self._check_partial()
        except BaseException:
            self._file.close()
            raise
        # A kill may have left the last name incomplete: that patch is written again.
        names = self._file["name"].asstr()[:]
        filled = int(np.argmax(names == "")) if (names == "").any() else len(names)
        self.length = max(0, filled - 1)
        self._file["name"][self.length :] = ""
        self._file.flush()
        self.names = set(names[: self.length])
        if self.length:
            done = counted(self.length, "patch")
            log.info("%s: resuming after %s of an earlier run", self.path, done)
        return self

    def _create(self) -> None:
        check_space(self.path, self.count * self.header.patch_bytes)
        fresh = self.partial.with_suffix(".new")
        with self._open(fresh, "w") as file:
            self.header.write_attributes(file)
            self.header.allocate_images(file, self.count)
            self.header.allocate_columns(file, self.count)
        fresh.replace(self.partial)

    def _open(self, path: Path, mode: str) -> h5py.File:
        try:
            # HDF5 1.10 and later mark a file as open for writing, and would refuse to open it
            # again after a kill. Version 1.8 of the format has no such mark.
            return h5py.File(path, mode, libver=("earliest", "v108"), locking="best-effort")
        except BlockingIOError as error:
            raise OutputError(f"{self.path}: another run is writing it; wait for it") from error
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write {path} ({error}); if it is damaged, delete it"
            ) from error

    def _check_partial(self) -> None:
        remedy = f"delete {self.partial} to start again, or give another output"
        try:
            difference = Header.read(self._file, self.partial).difference(self.header)
        except PatchError as error:
            raise OutputError(f"{error}; {remedy}") from error
        if not difference and len(self._file["name"]) != self.count:
            difference = f"{len(self._file['name'])} patches, not {self.count}"
        if difference:
            raise OutputError(
                f"{self.path}: the partial file of an earlier run has {difference}; {remedy}"
            )

    def append(self, patches: Sequence[Patch]) -> None:
        """Add patches. Once this returns, they survive a kill of the process.

        Args:
            patches: A batch; larger batches cost less per patch.

        Raises:
            PatchError: A patch is in the store already, has an unknown class, other images than
                the header states, or a text that is too long.
            OutputError: There are more than `count` patches, or the disk is full.
        """
        if not patches:
            return
        columns = {
            "classes": [self._classes(patch) for patch in patches],
            "origin": [patch.origin for patch in patches],
            "offset": [patch.offset for patch in patches],
            **{
                key: np.array(
                    [_text(patch, key) for patch in patches], h5py.string_dtype("utf-8", length)
                )
                for key, length in TEXT_BYTES.items()
            },
        }
        for patch in patches:
            if patch.name in self.names:
                raise PatchError(f"{self.path}: patch {patch.name} comes twice")
            if set(patch.data) != set(self.header.keys):
                raise PatchError(
                    f"{self.path}: patch {patch.name} has {', '.join(patch.data)}, expected "
                    f"{', '.join(self.header.keys)}"
                )
            self.names.add(patch.name)
        stop = self.length + len(patches)
        if stop > self.count:
            raise OutputError(f"{self.path}: more than the {self.count} patches announced")
        rows = slice(self.length, stop)
        names = columns.pop("name")
        try:
            for key in self.header.keys:
                dataset = self._file[key].id
                for row, patch in enumerate(patches, self.length):
                    pixels = np.ascontiguousarray(patch.data[key], "<u2")
                    dataset.write_direct_chunk((row, 0, 0, 0), pixels)
            for key, values in columns.items():
                self._file[key][rows] = values
            self._file.flush()
            # Names are written last: a patch with a name is complete.
            self._file["name"][rows] = names
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write ({error})") from error
        self.length = stop

    def _classes(self, patch: Patch) -> np.ndarray:
        try:
            return self.header.nomenclature.row(patch.labels)
        except UnknownNameError as error:
            raise PatchError(f"patch {patch.name}: {error}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self.length:
            for dataset in self._file.values():
                if len(dataset) > self.length:
                    dataset.resize(self.length, axis=0)
            self._file.close()
            self.partial.replace(self.path)
            return
        self._file.close()
        if error is None:
            self.partial.unlink()
            raise PatchError(f"{self.path}: no patch to write")
        if self.length:
            log.warning(
                "%s: %d of at most %d patches are kept in %s; repeat the command to resume",
                self.path,
                self.length,
                self.count,
                self.partial,
            )
        else:
            self.partial.unlink()


def _text(patch: Patch, key: str) -> bytes:
    text = str(getattr(patch, key)).encode()
    if len(text) > TEXT_BYTES[key] or (key == "name" and not text):
        raise PatchError(
            f"patch '{patch.name}': {key} has {len(text)} bytes, expected 1 to {TEXT_BYTES[key]}"
        )
    return text
