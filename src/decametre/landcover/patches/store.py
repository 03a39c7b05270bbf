"""Read a store of patches, in any order and from any process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from decametre.errors import PatchError
from decametre.landcover.patches.file_format import TEXT_BYTES, Header, damage_reported, open_store
from decametre.landcover.patches.nomenclature import Nomenclature
from decametre.landcover.patches.patch import LAYOUTS, SPLITS, Patch


class PatchStore:
    """A store of patches to read.

    It can be pickled and holds no pixels: every process opens the files it reads. A merged store
    (see `merge`) is read from its shards directly.

    Args:
        path: The file.

    Raises:
        PatchError: The file is missing, damaged, or not a store of patches.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with open_store(self.path) as file, damage_reported(self.path):
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
        """Keys of the images of each patch, see `LAYOUTS`."""
        return self.header.keys

    @property
    def nomenclature(self) -> Nomenclature:
        """The nomenclature of the labels."""
        return self.header.nomenclature

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the columns of `labels`."""
        return self.header.nomenclature.classes

    @property
    def model(self) -> str:
        """Ids and checksums of the models that made `data_super`; empty without `data_super`."""
        return self.header.model

    def bands(self, key: str) -> tuple[str, ...]:
        """Band names of an image, in the order of its planes."""
        return LAYOUTS[key].bands

    @cached_property
    def labels(self) -> np.ndarray:
        """uint8, (patches, classes): 1 where a patch has a class."""
        return self.column("classes")

    @cached_property
    def offset(self) -> np.ndarray:
        """int32, (patches, 12): radiometric offset in DN of each band."""
        return self.column("offset")

    @cached_property
    def splits(self) -> list[str]:
        """Split of each patch: `train`, `validation`, `test` or empty."""
        return self.column("split").tolist()

    @cached_property
    def names(self) -> list[str]:
        """Name of each patch."""
        return self.column("name").tolist()

    def column(self, key: str) -> np.ndarray:
        """Read a complete data set other than the images; texts as an array of `str`."""
        with open_store(self.path) as file, damage_reported(self.path):
            return file[key].asstr()[:] if key in TEXT_BYTES else file[key][:]

    def indices(self, split: str) -> np.ndarray:
        """Indices of the patches of a split: int64, ascending.

        Raises:
            PatchError: There is none; the message names the splits that the store has.
        """
        found = np.flatnonzero(np.array(self.splits) == split)
        if not len(found):
            known = ", ".join(name for name in SPLITS if name in self.splits) or "none"
            raise PatchError(f"{self.path} has no patch of split '{split}'; it has {known}")
        return found

    def names_at(self, indices: np.ndarray) -> set[str]:
        """Names of the patches at some indices."""
        return {self.names[index] for index in indices}

    def patches(self, indices: Sequence[int] | np.ndarray) -> list[Patch]:
        """Read complete patches.

        Args:
            indices: See `read`.

        Raises:
            PatchError: See `read`.
        """
        found = self.read(indices, (*self.keys, "classes", "offset"))
        columns = self._other_columns
        return [
            Patch(
                **{key: str(columns[key][index]) for key in TEXT_BYTES},
                origin=tuple(columns["origin"][index].tolist()),
                labels=self.nomenclature.labels(found["classes"][row]),
                data={key: found[key][row] for key in self.keys},
                offset=found["offset"][row],
            )
            for row, index in enumerate(indices)
        ]

    @cached_property
    def _other_columns(self) -> dict[str, np.ndarray]:
        return {key: self.column(key) for key in (*TEXT_BYTES, "origin")}

    def read(
        self, indices: Sequence[int] | np.ndarray, keys: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Read images, classes and offsets.

        Args:
            indices: Patches, 0 to `len(store) - 1`, in any order; repeats are allowed.
            keys: Images, `classes` and `offset`.

        Returns:
            By key, in the order of `indices`: images uint16 (patches, bands, rows, columns),
            classes uint8 (patches, classes), offset int32 (patches, 12).

        Raises:
            PatchError: A key or an index does not exist, or a shard cannot be read.
        """
        order = np.asarray(indices, np.int64)
        if len(order) and not 0 <= order.min() <= order.max() < len(self):
            raise PatchError(f"{self.path} has patches 0 to {len(self) - 1}; requested: {order}")
        found = {}
        for key in keys:
            if key in self.keys:
                found[key] = self._images(order, key)
            elif key in ("classes", "offset"):
                found[key] = (self.labels if key == "classes" else self.offset)[order]
            else:
                known = ", ".join((*self.keys, "classes", "offset"))
                raise PatchError(f"{self.path} has no '{key}'; it has {known}")
        return found

    def _images(self, order: np.ndarray, key: str) -> np.ndarray:
        shape = LAYOUTS[key].shape
        starts = [shard.start for shard in self.shards]
        owners = np.searchsorted(starts, order, side="right") - 1
        images = np.empty((len(order), *shape), "<u2")
        chunks = images.view(np.uint8).reshape(len(order), 2 * int(np.prod(shape)))
        # Raw chunks are copied. HDF5's own selections take 4 to 100 times as long.
        data = {owner: self._file(self.shards[owner])[key].id for owner in set(owners.tolist())}
        for chunk, index, owner in zip(chunks, order.tolist(), owners.tolist(), strict=True):
            shard = self.shards[owner]
            try:
                data[owner].read_direct_chunk((index - shard.start, 0, 0, 0), out=chunk)
            except (OSError, RuntimeError) as error:
                raise PatchError(
                    f"{shard.path}: cannot read {key} of patch {index} ({error}); the file is "
                    "truncated or damaged, make it again"
                ) from error
        return images

    def _file(self, shard: Shard) -> h5py.File:
        # A forked process must not use HDF5 files that its parent opened.
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
        path: The store's own file, or a file that the merged store refers to.
        start: Index in the store of its first patch.
        length: Number of its patches.
        ends: Names of its first and last patch.
    """

    path: Path
    start: int
    length: int
    ends: tuple[str, str]

    def check(self, file: h5py.File, merged: Path) -> None:
        """Make sure that the file is still the one that was merged.

        Raises:
            PatchError: The file has been replaced.
        """
        names = file["name"].asstr()
        if len(names) != self.length or (names[0], names[self.length - 1]) != self.ends:
            raise PatchError(f"{self.path} has changed since {merged} was merged; merge again")


def _shards(file: h5py.File, path: Path, keys: Sequence[str]) -> list[Shard]:
    """List the files that hold a store's images, in the order of their patches.

    Raises:
        PatchError: A file is missing. HDF5 itself would return zeros.
    """
    names = file["name"].asstr()
    if not file[keys[0]].is_virtual:
        return [Shard(path, 0, len(names), (names[0], names[len(names) - 1]))]
    shards = []
    for source in file[keys[0]].virtual_sources():
        low, high = source.vspace.get_select_bounds()
        start, stop = int(low[0]), int(high[0]) + 1
        ends = names[start], names[stop - 1]
        shard = Shard(path.parent / source.file_name, start, stop - start, ends)
        if not shard.path.is_file():
            raise PatchError(
                f"{path}: its shard {shard.path} is missing; put it back, or merge again"
            )
        shards.append(shard)
    return sorted(shards, key=lambda shard: shard.start)
