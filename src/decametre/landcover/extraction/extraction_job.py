"""Patches out of products: decides which are cut by whom, has them cut, and presents one store."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import BusyError, NoPatchError, OutputError
from decametre.landcover.extraction.plan import Job
from decametre.landcover.extraction.planning import (
    TILES,
    Request,
    Sharpen,
    decide,
    shards_folder,
)
from decametre.landcover.extraction.worker_pool import Progress, wait_for_orphans, write_shards
from decametre.landcover.patches.merge import merge_patches
from decametre.landcover.patches.store import PatchStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """What an extraction came to.

    Attributes:
        path: The store.
        patches: How many patches it has.
        shards: Of how many files it is made.
        left_out: How many patches of the list are not in it, by reason: `elsewhere` (in no product
            given), `misfit`, `listed`, `shadow`, `cloud`, `snow`, `none of the 19 classes`,
            `without data`.
    """

    path: Path
    patches: int
    shards: int
    left_out: Mapping[str, int]


def extract(
    request: Request,
    output: Path,
    workers: int,
    sharpen: Sharpen,
    *,
    overwrite: bool,
    progress: Progress,
) -> Extraction:
    """Cut patches from products into a store, or go on where an earlier run was ended.

    Args:
        request: What to cut.
        output: The store.
        workers: How many processes cut.
        sharpen: Used where `request.sharpen` is set.
        overwrite: Allow the output to exist, and an unfinished run to be thrown away.
        progress: Called after every batch of patches.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    with _work_folder(output, request, overwrite) as folder:
        if not Job.is_in(folder):
            decide(request, output, folder, workers, sharpen)
        job = Job.load(folder)
        for reason, count in job.left_out.items():
            log.info("%d patches left out: %s", count, reason)
        merged = folder / output.name
        if not merged.exists():
            write_shards(job, workers, progress)
            _merge(job, merged)
        return _publish(job, merged, output)


@contextmanager
def _work_folder(output: Path, request: Request, overwrite: bool) -> Iterator[Path]:
    """A hidden folder beside the output, which only success removes.

    Raises:
        OutputError: The output exists, its folder cannot be written, another run is at work, or an
            unfinished run was asked for something else.
    """
    if output.is_dir() or output.suffix.lower() not in (".h5", ".hdf5"):
        raise OutputError(f"{output}: give the name of a file that ends in .h5")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: folder {output.parent} does not exist; make it first")
    if not os.access(output.parent, os.W_OK):
        raise OutputError(f"{output}: folder {output.parent} is not writable")
    folder = output.parent / f".{output.name}.extraction"
    for path in (output, shards_folder(output)):
        # A killed run may have moved its shards into place, and the rest not yet.
        if path.exists() and not overwrite and not (folder / output.name).exists():
            raise OutputError(f"{path} exists already; use --overwrite to replace it")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{output}: another run is writing it; wait for it") from error
        except OSError as error:
            raise OutputError(
                f"{output}: its file system has no locks ({error.strerror}); write elsewhere"
            ) from error
        wait_for_orphans(folder)
        asked, note = request.fingerprint(), folder / "request.json"
        if note.exists():
            earlier = json.loads(note.read_text(encoding="utf-8"))
            differs = [key for key in asked if earlier.get(key) != asked[key]]
            if differs and not overwrite:
                raise OutputError(
                    f"{output}: an unfinished run in {folder} had other {', '.join(differs)}; give "
                    "the same to go on, or --overwrite to start anew"
                )
            if differs:
                log.warning("an unfinished run for %s is thrown away", output)
                for path in folder.iterdir():
                    if path.name != "lock":
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            else:
                log.info("going on where an earlier run was ended")
        note.write_text(json.dumps(asked), encoding="utf-8")
        try:
            yield folder
        except BaseException:
            if not Job.is_in(folder) and not (folder / TILES).exists():
                shutil.rmtree(folder, ignore_errors=True)  # it holds nothing worth keeping
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _merge(job: Job, merged: Path) -> None:
    """Present the shards as one store; a single one is the store itself."""
    shards = [job.shard_path(number) for number in range(len(job.counts))]
    shards = [path for path in shards if path.exists()]
    if not shards:
        shutil.rmtree(job.folder)
        count = sum(job.counts)
        raise NoPatchError(
            f"not one of {count} patches holds data; nothing was written",
            {**job.left_out, "without data": count},
        )
    if len(shards) == 1:
        shards[0].replace(merged)
    else:
        merge_patches(shards, merged)


def _publish(job: Job, merged: Path, output: Path) -> Extraction:
    """Move the store to its place, the shards first."""
    own, target = job.folder / job.shards, shards_folder(output)
    if own.exists():
        output.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        if any(path.suffix == ".h5" for path in own.iterdir()):
            own.rename(target)
    merged.replace(output)
    store = PatchStore(output)
    missing = sum(job.counts) - len(store)
    left_out = dict(job.left_out) | ({"without data": missing} if missing else {})
    if missing:
        log.info("%d patches left out: without data", missing)
    shards = len(list(target.glob("*.h5"))) if target.exists() else 1
    return Extraction(output, len(store), shards, left_out)
