"""Import a published BigEarthNet into a store of patches."""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import rasterio

from decametre.errors import DecametreError, PatchError
from decametre.landcover.bigearthnet.folders import Metadata, open_folder
from decametre.landcover.bigearthnet.lmdb_archive import open_lmdb
from decametre.landcover.bigearthnet.names import read_names
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, Nomenclature, to_nineteen
from decametre.landcover.patches.patch import NATIVE_KEYS, SPLITS, Patch
from decametre.landcover.patches.store_writer import PatchWriter
from decametre.sentinel2.gdal_settings import GDAL_OPTIONS
from decametre.text import counted

log = logging.getLogger(__name__)

ATTRIBUTION = (
    "BigEarthNet (Sumbul et al. 2019, 2021; Clasen et al. 2024), Community Data License Agreement "
    "- Permissive 1.0; contains modified Copernicus Sentinel data 2017-2018"
)

BATCH = 128
"""Patches that are read in parallel, and written together: 20 MB."""


class Archive(Protocol):
    """A published archive."""

    @property
    def nomenclature(self) -> Nomenclature:
        """The nomenclature of the labels."""

    @property
    def metadata(self) -> Metadata | None:
        """BigEarthNet v2's tables; patches that are not in them are excluded."""

    @property
    def names(self) -> list[str]:
        """Names of all patches, sorted."""

    def read(self, name: str) -> Patch:
        """Read one patch, with labels of the archive's nomenclature."""


@dataclass(frozen=True)
class ImportResult:
    """The result of an import.

    Attributes:
        path: The store.
        patches: Number of patches in the store.
        left_out: Number of excluded patches, by reason.
    """

    path: Path
    patches: int
    left_out: Mapping[str, int]


def open_archive(path: Path, tables: Sequence[Path] = ()) -> Archive:
    """Open an archive.

    Args:
        path: An unpacked BigEarthNet v1 or v2, or the LMDB that rico-hdl makes of v2.
        tables: BigEarthNet v2's `metadata.parquet`; by default searched next to an archive of v2.

    Raises:
        PatchError: It is not such an archive, is empty, or its tables cannot be used.
    """
    if not path.exists():
        raise PatchError(f"{path}: no such file or folder")
    archive: Archive | None = open_lmdb(path, tables)
    if archive is None and path.is_dir():
        archive = open_folder(path, tables)
    if archive is None or not archive.names:
        raise PatchError(
            f"{path}: no patches found; give an unpacked BigEarthNet (folders of patches, or of "
            "tiles with patches), or the LMDB that rico-hdl makes of it"
        )
    return archive


def import_patches(
    source: Path,
    output: Path,
    *,
    tables: Sequence[Path] = (),
    classes: int | None = None,
    exclude: Sequence[Path] = (),
    splits: Mapping[str, Path] | None = None,
    skip_damaged: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int, int], None] = lambda done, total, count: None,
) -> ImportResult:
    """Import a published archive into a store; see `api.import_patches`."""
    archive = open_archive(source, tables)
    nineteen = _converts_to_nineteen(archive, source, classes)
    split_of = _split_lists(splits or {})
    left_out: Counter[str] = Counter()
    names = _selected(archive, exclude, split_of if splits else None, left_out)
    log.info("%s: %s", source, counted(len(archive.names), "patch"))
    for reason, count in left_out.items():
        log.info("skipped patches: %d (%s)", count, reason)
    if not names:
        raise PatchError(f"{source}: all {len(archive.names)} patches are excluded")
    header = Header(
        BIGEARTHNET19 if nineteen else archive.nomenclature,
        NATIVE_KEYS,
        attribution=ATTRIBUTION,
        job=_command(source, tables, nineteen, exclude, splits or {}),
    )

    def read(name: str) -> Patch | str:
        """Read a patch, or return the reason why it is excluded."""
        try:
            patch = archive.read(name)
        except DecametreError as error:
            if not skip_damaged:
                raise
            log.warning("%s", error)
            return "damaged"
        labels = to_nineteen(patch.labels) if nineteen else patch.labels
        if not labels:
            return "none of the 19 classes"
        return replace(patch, labels=labels, split=split_of.get(name, patch.split))

    with PatchWriter(output, header, len(names), overwrite=overwrite) as writer:
        resumed, skipped = writer.length, Counter[str]()
        missing = (name for name in names if name not in writer.names)
        # GDAL's settings are per thread.
        with ThreadPoolExecutor(
            min(8, os.cpu_count() or 1),
            initializer=lambda: rasterio.Env(**GDAL_OPTIONS).__enter__(),
        ) as pool:
            progress(resumed, len(names), 0)
            for batch in _batches(missing):
                found = list(pool.map(read, batch))
                skipped.update(reason for reason in found if isinstance(reason, str))
                writer.append([patch for patch in found if isinstance(patch, Patch)])
                done = writer.length + skipped.total()
                progress(done, len(names), done - resumed)
        for reason, count in skipped.items():
            log.info("skipped patches: %d (%s)", count, reason)
        patches = writer.length
    return ImportResult(output, patches, dict(left_out + skipped))


def _converts_to_nineteen(archive: Archive, source: Path, classes: int | None) -> bool:
    """Whether labels are converted to the 19 classes."""
    own = len(archive.nomenclature.classes)
    if classes is None or classes == own:
        return False
    if classes == len(BIGEARTHNET19.classes):
        return True
    raise PatchError(f"{source} has labels of {own} classes; they cannot be converted to {classes}")


def _split_lists(splits: Mapping[str, Path]) -> dict[str, str]:
    """The split of each listed patch."""
    found: dict[str, str] = {}
    for split, path in splits.items():
        if split not in SPLITS:
            raise PatchError(f"split '{split}' is not one of {', '.join(SPLITS)}")
        for name in _listed(path):
            if found.setdefault(name, split) != split:
                raise PatchError(f"{path}: patch {name} is in split '{found[name]}' already")
    return found


def _listed(path: Path) -> set[str]:
    """All names on a published list, of both versions if it states both."""
    if not path.is_file():
        raise PatchError(f"{path}: no such file")
    return {name for names in read_names(path) for name in names if name}


def _selected(
    archive: Archive,
    exclude: Sequence[Path],
    split_of: Mapping[str, str] | None,
    left_out: Counter[str],
) -> list[str]:
    """Names of the patches to import; each excluded patch is counted under its first reason."""
    reasons: list[tuple[str, Callable[[str], bool]]] = []
    for path in exclude:
        reasons.append((f"on the list {path}", _listed(path).__contains__))
    if archive.metadata is not None:
        metadata = archive.metadata
        reasons.append((f"not in {metadata}", lambda name: name not in metadata))
    if split_of is not None:
        reasons.append(("on no list of a split", lambda name: name not in split_of))
    names = []
    for name in archive.names:
        reason = next((text for text, applies in reasons if applies(name)), None)
        if reason is None:
            names.append(name)
        else:
            left_out[reason] += 1
    return names


def _command(
    source: Path,
    tables: Sequence[Path],
    nineteen: bool,
    exclude: Sequence[Path],
    splits: Mapping[str, Path],
) -> str:
    """The options that determine the content of the store; a resumed run must have the same."""
    words = ["decametre", "patches", "import", source.name]
    words += [word for path in tables for word in ("--metadata", path.name)]
    words += ["--classes", "19"] if nineteen else []
    words += [word for path in exclude for word in ("--exclude", path.name)]
    words += [word for name, path in splits.items() for word in ("--split", f"{name}={path.name}")]
    return shlex.join(words)


def _batches(names: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(names, BATCH)):
        yield batch
