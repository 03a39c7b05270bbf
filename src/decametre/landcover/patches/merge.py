"""Merge shards into one store: a small file that refers to them, or one plain file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from decametre.errors import PatchError
from decametre.io.staging import Staging
from decametre.landcover.patches.file_format import COLUMNS, TEXT_BYTES, Header, open_store
from decametre.landcover.patches.patch import LAYOUTS
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter

BATCH = 128
"""Patches that are copied together."""


def merge_patches(
    shards: Sequence[Path],
    output: Path,
    *,
    consolidate: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] = lambda done, total, count: None,
) -> int:
    """Merge stores and return the number of patches; see `api.merge_patches`."""
    stores = [PatchStore(path) for path in shards]
    if not stores:
        raise PatchError(f"{output}: no shard to merge")
    if any(output.resolve() == path.resolve() for path in shards):
        raise PatchError(f"{output} is one of the shards; give another output")
    header = _common_header(stores)
    _refuse_duplicates(stores)
    count = sum(map(len, stores))
    if consolidate:
        _copy(stores, output, header, count, overwrite, progress)
    else:
        _refer(stores, output, header, count, overwrite)
    return count


def _common_header(stores: Sequence[PatchStore]) -> Header:
    """Header of the merged store, with each distinct job and attribution once."""
    first = replace(stores[0].header, job="", attribution="")
    for store in stores[1:]:
        difference = replace(store.header, job="", attribution="").difference(first)
        if difference:
            raise PatchError(f"{store.path} does not fit {stores[0].path}: {difference}")
    headers = [store.header for store in stores]
    jobs = dict.fromkeys(header.job for header in headers if header.job)
    attributions = dict.fromkeys(header.attribution for header in headers if header.attribution)
    return replace(first, job="; ".join(jobs), attribution="; ".join(attributions))


def _refuse_duplicates(stores: Sequence[PatchStore]) -> None:
    owners: dict[str, PatchStore] = {}
    for store in stores:
        for name in store.names:
            if name in owners:
                raise PatchError(
                    f"patch {name} is in {owners[name].path} and in {store.path}; exclude one"
                )
            owners[name] = store


def _copy(
    stores: Sequence[PatchStore],
    output: Path,
    header: Header,
    count: int,
    overwrite: bool,
    progress: Callable[[int, int, int], None],
) -> None:
    """Copy all patches into one plain file, or resume such a copy."""
    with PatchWriter(output, header, count, overwrite=overwrite) as writer:
        resumed = writer.length
        progress(resumed, count, 0)
        for store in stores:
            missing = [at for at, name in enumerate(store.names) if name not in writer.names]
            for start in range(0, len(missing), BATCH):
                writer.append(store.patches(missing[start : start + BATCH]))
                progress(writer.length, count, writer.length - resumed)


def _plain_stores(store: PatchStore) -> list[PatchStore]:
    """The files that hold the images of a store: itself, or its shards if it was merged."""
    if store.shards[0].path == store.path:
        return [store]
    for shard in store.shards:
        with open_store(shard.path) as file:
            shard.check(file, store.path)
    return [PatchStore(shard.path) for shard in store.shards]


def _refer(
    stores: Sequence[PatchStore], output: Path, header: Header, count: int, overwrite: bool
) -> None:
    """Write a file that copies the columns and refers to the shards for the images."""
    stores = [plain for store in stores for plain in _plain_stores(store)]
    needed = count * (sum(TEXT_BYTES.values()) + 256)
    with Staging(output, overwrite=overwrite, needed=needed) as staging:
        with h5py.File(staging.path(output.name), "w") as file:
            header.write_attributes(file)
            header.allocate_columns(file, count)
            layouts = {
                key: h5py.VirtualLayout((count, *LAYOUTS[key].shape), "<u2") for key in header.keys
            }
            start = 0
            for store in stores:
                rows = slice(start, start + len(store))
                start = rows.stop
                for key in COLUMNS:
                    file[key][rows] = store.column(key)
                path = os.path.relpath(store.path.resolve(), output.parent.resolve())
                for key, layout in layouts.items():
                    shape = (len(store), *LAYOUTS[key].shape)
                    layout[rows] = h5py.VirtualSource(path, key, shape)
            for key, layout in layouts.items():
                dataset = file.create_virtual_dataset(key, layout)
                dataset.attrs["bands"] = list(LAYOUTS[key].bands)
        staging.commit(output.name)
