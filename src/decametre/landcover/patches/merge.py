"""Shards become one store: a small file that presents them as one, or one plain file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from decametre.errors import PatchError
from decametre.io.staging import Staging
from decametre.landcover.patches.file_format import COLUMNS, TEXTS, Header
from decametre.landcover.patches.patch import LAYOUTS
from decametre.landcover.patches.store import PatchStore, PatchWriter

log = logging.getLogger(__name__)

BATCH = 128
"""Patches that are copied at once."""


def merge_patches(
    shards: Sequence[Path],
    output: Path,
    *,
    consolidate: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] = lambda done, total, count: None,
) -> int:
    """Merge stores; see `api.merge_patches`. Returns the number of patches."""
    stores = [PatchStore(path) for path in shards]
    if not stores:
        raise PatchError(f"{output}: no shard to merge")
    if any(output.resolve() == path.resolve() for path in shards):
        raise PatchError(f"{output} is one of the shards; give another output")
    header = _common_header(stores)
    _refuse_doubled(stores)
    count = sum(map(len, stores))
    if consolidate:
        _copy(stores, output, header, count, overwrite, progress)
    else:
        _present(stores, output, header, count, overwrite)
    return count


def _common_header(stores: Sequence[PatchStore]) -> Header:
    """What is true of all stores; of their jobs and whose data they are, each is told once."""
    first = replace(stores[0].header, job="", attribution="")
    for store in stores[1:]:
        differs = replace(store.header, job="", attribution="").difference(first)
        if differs:
            raise PatchError(f"{store.path} does not fit {stores[0].path}: {differs}")
    headers = [store.header for store in stores]
    jobs = dict.fromkeys(header.job for header in headers if header.job)
    owners = dict.fromkeys(header.attribution for header in headers if header.attribution)
    return replace(first, job="; ".join(jobs), attribution="; ".join(owners))


def _refuse_doubled(stores: Sequence[PatchStore]) -> None:
    holder: dict[str, PatchStore] = {}
    for store in stores:
        for name in store.names:
            if name in holder:
                raise PatchError(
                    f"patch {name} is in {holder[name].path} and in {store.path}; leave one out"
                )
            holder[name] = store


def _copy(
    stores: Sequence[PatchStore],
    output: Path,
    header: Header,
    count: int,
    overwrite: bool,
    progress: Callable[[int, int, int], None],
) -> None:
    with PatchWriter(output, header, count, overwrite=overwrite) as writer:
        begun = writer.done
        progress(begun, count, 0)
        for store in stores:
            places = [at for at, name in enumerate(store.names) if name not in writer.names]
            for start in range(0, len(places), BATCH):
                writer.append(store.patches(places[start : start + BATCH]))
                progress(writer.done, count, writer.done - begun)


def _present(
    stores: Sequence[PatchStore], output: Path, header: Header, count: int, overwrite: bool
) -> None:
    for store in stores:
        if store.shards[0].path != store.path:
            raise PatchError(
                f"{store.path} was merged itself; give its shards, or --consolidate to copy it"
            )
    needed = count * (sum(TEXTS.values()) + 256)
    with Staging(output, overwrite=overwrite, needed=needed) as staging:
        with h5py.File(staging.path(output.name), "w") as file:
            header.describe(file)
            for key in header.keys:
                layout = h5py.VirtualLayout((count, *LAYOUTS[key].shape), "<u2")
                start = 0
                for store in stores:
                    path = os.path.relpath(store.path.resolve(), output.parent.resolve())
                    source = h5py.VirtualSource(path, key, (len(store), *LAYOUTS[key].shape))
                    layout[start : start + len(store)] = source
                    start += len(store)
                dataset = file.create_virtual_dataset(key, layout)
                dataset.attrs["bands"] = list(LAYOUTS[key].bands)
            header.allot_columns(file, count)
            start = 0
            for store in stores:
                for key in COLUMNS:
                    file[key][start : start + len(store)] = store.column(key)
                start += len(store)
        staging.commit(output.name)
