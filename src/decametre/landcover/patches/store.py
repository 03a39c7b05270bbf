"""A store of patches: one HDF5 file, written so that a killed run goes on, read at full speed."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from decametre.errors import OutputError, PatchError, UnknownNameError
from decametre.landcover.patches.file_format import TEXTS, Header, open_store
from decametre.landcover.patches.nomenclature import Nomenclature
from decametre.landcover.patches.patch import LAYOUTS, SPLITS, Patch

log = logging.getLogger(__name__)


class PatchWriter:
    """Writes a store, in batches; a context manager.

    The file grows beside the output, as `.NAME.partial`, and gets its name when the `with` block
    ends well. A run that ends otherwise, or is killed, leaves the partial file; the next writer
    with the same output, header and count goes on with it. `names` then says which patches need not
    come again.

    Args:
        path: The store to make.
        header: What is true of all patches.
        count: How many patches there will be at most.
        overwrite: Allow `path` to exist.

    Raises:
        OutputError: The folder does not exist or cannot be written, the output exists, too little
            space, another run is writing it, or what is there was left by another job.
    """

    def __init__(self, path: Path, header: Header, count: int, *, overwrite: bool = False) -> None:
        self.path, self.header, self.count = path, header, count
        self.partial = path.parent / f".{path.name}.partial"
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file name such as {path}/patches.h5")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: folder {path.parent} does not exist; make it first")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{path}: folder {path.parent} is not writable")
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
        # The last name may have been written in part when the run was killed.
        held = self._file["name"].asstr()[:]
        whole = int(np.argmax(held == "")) if (held == "").any() else len(held)
        self.done = max(0, whole - 1)
        self._file["name"][self.done :] = ""
        self._file.flush()
        self.names = set(held[: self.done])
        if self.done:
            log.info("%s: goes on after %d patches of an earlier run", self.path, self.done)
        return self

    def _create(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        needed = self.count * self.header.patch_bytes
        if free < needed:
            raise OutputError(
                f"{self.path}: {free / 1e6:,.0f} MB free in {self.path.parent}, up to "
                f"{needed / 1e6:,.0f} MB needed; free some space or write elsewhere"
            )
        fresh = self.partial.with_suffix(".new")
        with self._open(fresh, "w") as file:
            self.header.describe(file)
            self.header.allot_images(file, self.count)
            self.header.allot_columns(file, self.count)
        fresh.replace(self.partial)

    def _open(self, path: Path, mode: str) -> h5py.File:
        try:
            # Not newer: files of HDF5 1.10 and later mark themselves as open for writing, and would
            # not be opened again after a kill.
            return h5py.File(path, mode, libver=("earliest", "v108"), locking="best-effort")
        except BlockingIOError as error:
            raise OutputError(f"{self.path}: another run is writing it; wait for it") from error
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write {path} ({error}); if it is damaged, delete it"
            ) from error

    def _check_partial(self) -> None:
        remedy = f"delete {self.partial} to start anew, or give another output"
        try:
            differs = Header.read(self._file, self.partial).difference(self.header)
        except PatchError as error:
            raise OutputError(f"{error}; {remedy}") from error
        if not differs and len(self._file["name"]) != self.count:
            differs = f"{len(self._file['name'])} patches, not {self.count}"
        if differs:
            raise OutputError(f"{self.path}: an earlier run left a part with {differs}; {remedy}")

    def append(self, patches: Sequence[Patch]) -> None:
        """Add patches; when it returns, they outlive a kill of the process.

        Args:
            patches: A batch; a larger one costs less each.

        Raises:
            PatchError: A patch is there already, has an unknown class, other images than the
                header says, or a text that is too long.
            OutputError: There are more than `count`, or the disk is full.
        """
        if not patches:
            return
        texts = {
            key: np.array(
                [self._text(patch, key) for patch in patches], h5py.string_dtype("utf-8", length)
            )
            for key, length in TEXTS.items()
        }
        classes = [self._row(patch) for patch in patches]
        for patch in patches:
            if patch.name in self.names:
                raise PatchError(f"{self.path}: patch {patch.name} comes twice")
            if set(patch.data) != set(self.header.keys):
                raise PatchError(
                    f"{self.path}: patch {patch.name} has {', '.join(patch.data)}, expected "
                    f"{', '.join(self.header.keys)}"
                )
            self.names.add(patch.name)
        stop = self.done + len(patches)
        if stop > self.count:
            raise OutputError(f"{self.path}: more than the {self.count} patches announced")
        rows = slice(self.done, stop)
        try:
            for key in self.header.keys:
                dataset = self._file[key].id
                for row, patch in enumerate(patches, self.done):
                    pixels = np.ascontiguousarray(patch.data[key], "<u2")
                    dataset.write_direct_chunk((row, 0, 0, 0), pixels)
            self._file["classes"][rows] = classes
            self._file["origin"][rows] = [patch.origin for patch in patches]
            self._file["offset"][rows] = [patch.offset for patch in patches]
            # Names come last: a patch with a name is whole.
            names = texts.pop("name")
            for key, values in texts.items():
                self._file[key][rows] = values
            self._file.flush()
            self._file["name"][rows] = names
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot write ({error})") from error
        self.done = stop

    def _row(self, patch: Patch) -> np.ndarray:
        try:
            return self.header.nomenclature.row(patch.labels)
        except UnknownNameError as error:
            raise PatchError(f"patch {patch.name}: {error}") from error

    def _text(self, patch: Patch, key: str) -> bytes:
        text = str(getattr(patch, key)).encode()
        if len(text) > TEXTS[key] or (key == "name" and not text):
            raise PatchError(
                f"patch '{patch.name}': {key} has {len(text)} bytes, expected 1 to {TEXTS[key]}"
            )
        return text

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self.done:
            for dataset in self._file.values():
                if len(dataset) > self.done:
                    dataset.resize(self.done, axis=0)
            self._file.close()
            self.partial.replace(self.path)
            return
        self._file.close()
        if error is None:
            self.partial.unlink()
            raise PatchError(f"{self.path}: no patch to write")
        if self.done:
            log.warning(
                "%s: %d of at most %d patches are kept in %s; the same command goes on with them",
                self.path,
                self.done,
                self.count,
                self.partial,
            )
        else:
            self.partial.unlink()


class PatchStore:
    """A store of patches, to read; picklable, and usable from any process.

    It holds no pixel, and opens its files anew in every process that reads. A merged store (see
    `merge`) is read from its shards directly.

    Args:
        path: The file.

    Raises:
        PatchError: It is missing, damaged, no store of patches, or breaks the format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with open_store(self.path) as file:
            self.header = Header.read(file, self.path)
            self._length = len(file["name"])
            self.shards = _shards(file, self.path, self.keys)
        self._opened: tuple[int, dict[Path, h5py.File]] = (0, {})

    def __getstate__(self) -> dict[str, Any]:
        kept = {key: getattr(self, key) for key in ("path", "header", "shards", "_length")}
        return {**kept, "_opened": (0, {})}

    def __len__(self) -> int:
        return self._length

    @property
    def keys(self) -> tuple[str, ...]:
        """The images that its patches have."""
        return self.header.keys

    @property
    def nomenclature(self) -> Nomenclature:
        """Of the labels."""
        return self.header.nomenclature

    @property
    def class_names(self) -> tuple[str, ...]:
        """The columns of `labels`."""
        return self.header.nomenclature.classes

    @property
    def model(self) -> str:
        """Id and checksum of what sharpened `data_super`; empty where nothing did."""
        return self.header.model

    def bands(self, key: str) -> tuple[str, ...]:
        """The order of an image's bands."""
        return LAYOUTS[key].bands

    @cached_property
    def labels(self) -> np.ndarray:
        """uint8, (patches, classes): 1 where a patch has a class."""
        return self.column("classes")

    @cached_property
    def offset(self) -> np.ndarray:
        """int32, (patches, 12): DN to add, a band."""
        return self.column("offset")

    @cached_property
    def splits(self) -> list[str]:
        """Of each patch: `train`, `validation`, `test` or empty."""
        return self.column("split").tolist()

    @cached_property
    def names(self) -> list[str]:
        """Of each patch."""
        return self.column("name").tolist()

    def column(self, key: str) -> np.ndarray:
        """A data set beside the images, whole; texts as an array of `str`."""
        with open_store(self.path) as file:
            return file[key].asstr()[:] if key in TEXTS else file[key][:]

    def places(self, split: str) -> np.ndarray:
        """Where the patches of a split are: int64, rising.

        Raises:
            PatchError: There is none; names the splits that there are.
        """
        found = np.flatnonzero(np.array(self.splits) == split)
        if not len(found):
            there = ", ".join(name for name in SPLITS if name in self.splits) or "none"
            raise PatchError(f"{self.path} has no patch of split '{split}'; it has {there}")
        return found

    def names_at(self, places: np.ndarray) -> set[str]:
        """The names of some patches."""
        return {self.names[place] for place in places}

    def patches(self, places: Sequence[int] | np.ndarray) -> list[Patch]:
        """Patches as they were written.

        Args:
            places: See `read`.

        Raises:
            PatchError: See `read`.
        """
        found = self.read(places, (*self.keys, "classes", "offset"))
        columns = {key: self._beside[key] for key in (*TEXTS, "origin")}
        return [
            Patch(
                **{key: str(columns[key][place]) for key in TEXTS},
                origin=tuple(columns["origin"][place].tolist()),
                labels=self.nomenclature.labels(found["classes"][row]),
                data={key: found[key][row] for key in self.keys},
                offset=found["offset"][row],
            )
            for row, place in enumerate(places)
        ]

    @cached_property
    def _beside(self) -> dict[str, np.ndarray]:
        return {key: self.column(key) for key in (*TEXTS, "origin")}

    def read(
        self, places: Sequence[int] | np.ndarray, keys: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Read patches.

        Args:
            places: Of patches, 0 to `len(store) - 1`, in any order; repeats are allowed.
            keys: Of images, and `classes` and `offset`.

        Returns:
            By key, in the order of `places`: images uint16 (patches, bands, rows, columns), classes
            uint8 (patches, classes), offset int32 (patches, 12).

        Raises:
            PatchError: A key or a place is not there, or a shard cannot be read.
        """
        order = np.asarray(places, np.int64)
        if len(order) and not 0 <= order.min() <= order.max() < len(self):
            raise PatchError(f"{self.path} has patches 0 to {len(self) - 1}; asked for {order}")
        found = {}
        for key in keys:
            if key in self.keys:
                found[key] = self._images(order, key)
            elif key in ("classes", "offset"):
                found[key] = (self.labels if key == "classes" else self.offset)[order]
            else:
                there = ", ".join((*self.keys, "classes", "offset"))
                raise PatchError(f"{self.path} has no '{key}'; it has {there}")
        return found

    def _images(self, order: np.ndarray, key: str) -> np.ndarray:
        starts = [shard.start for shard in self.shards]
        which = np.searchsorted(starts, order, side="right") - 1
        out = np.empty((len(order), *LAYOUTS[key].shape), "<u2")
        chunks = out.view(np.uint8).reshape(len(order), 2 * int(np.prod(LAYOUTS[key].shape)))
        # Chunks are copied as they stand. HDF5's own selections take 4 to 100 times longer.
        ids = {at: self._file(self.shards[at])[key].id for at in set(which.tolist())}
        for chunk, place, at in zip(chunks, order.tolist(), which.tolist(), strict=True):
            shard = self.shards[at]
            try:
                ids[at].read_direct_chunk((place - shard.start, 0, 0, 0), out=chunk)
            except (OSError, RuntimeError) as error:
                raise PatchError(
                    f"{shard.path}: cannot read {key} of patch {place} ({error}); the file is "
                    "truncated or damaged, make it anew"
                ) from error
        return out

    def _file(self, shard: Shard) -> h5py.File:
        # An HDF5 file that was open when the process forked must not be used in the child.
        if self._opened[0] != os.getpid():
            self._opened = os.getpid(), {}
        files = self._opened[1]
        if shard.path not in files:
            files[shard.path] = open_store(shard.path)
            if shard.path != self.path:
                shard.check(files[shard.path], self.path)
        return files[shard.path]


@dataclass(frozen=True)
class Shard:
    """A file that holds images of a store.

    Attributes:
        path: The file; the store itself, or what it presents as its own.
        start: Place in the store of its first patch.
        ends: Names of its first and last patch.
        rows: Number of its patches.
    """

    path: Path
    start: int
    rows: int
    ends: tuple[str, str]

    def check(self, file: h5py.File, merged: Path) -> None:
        """Make sure that the file is still the one that was merged.

        Raises:
            PatchError: It is another.
        """
        names = file["name"].asstr()
        if len(names) != self.rows or (names[0], names[self.rows - 1]) != self.ends:
            raise PatchError(
                f"{self.path} is another file than when {merged} was merged; merge again"
            )


def _shards(file: h5py.File, path: Path, keys: Sequence[str]) -> list[Shard]:
    """The files in which a store's images stand, in the order of places.

    Raises:
        PatchError: One is missing. (HDF5 itself would show zeros.)
    """
    names = file["name"].asstr()
    if not file[keys[0]].is_virtual:
        return [Shard(path, 0, len(names), (names[0], names[len(names) - 1]))]
    shards = []
    for source in file[keys[0]].virtual_sources():
        low, high = source.vspace.get_select_bounds()
        start, rows = int(low[0]), int(high[0] - low[0] + 1)
        ends = names[start], names[start + rows - 1]
        shard = Shard(path.parent / source.file_name, start, rows, ends)
        if not shard.path.is_file():
            raise PatchError(
                f"{path}: its shard {shard.path} is missing; put it back, or merge again"
            )
        shards.append(shard)
    return sorted(shards, key=lambda shard: shard.start)
