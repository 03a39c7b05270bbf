"""Extract patches from products into one store: plan, run workers, merge their shards."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import NoPatchError, OutputError
from decametre.files import locked, read_json
from decametre.landcover.extraction.output_files import StoreFiles
from decametre.landcover.extraction.plan import ExtractionPlan
from decametre.landcover.extraction.planning import (
    TILES,
    Request,
    Sharpen,
    make_plan,
)
from decametre.landcover.extraction.worker_pool import wait_for_orphans, write_shards
from decametre.landcover.patches.merge import merge_patches
from decametre.landcover.patches.store import PatchStore
from decametre.text import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction.

    Attributes:
        path: The store.
        patches: Number of patches in the store.
        shards: Number of files that hold them.
        left_out: Number of patches of the list that are not in the store, by reason: `elsewhere`
            (in no product given), `misfit`, `listed`, `shadow`, `cloud`, `snow`, `none of the 19
            classes`, `without data`.
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
    progress: Callable[[int, int, int], None],
) -> Extraction:
    """Cut patches from products into a store, or resume an earlier run.

    Args:
        request: What to cut.
        output: The store.
        workers: Number of worker processes.
        sharpen: Sharpens products without a tile if `request.sharpen` is set.
        overwrite: Allow the output to exist, and discard an unfinished run with other settings.
        progress: Called after every batch with patches handled, all patches, and patches handled
            by this run.

    Raises:
        DecametreError: A mistake of the user.
    """
    with _work_folder(output, request, overwrite) as folder:
        if ExtractionPlan.exists(folder):
            plan = ExtractionPlan.load(folder)
        else:
            plan = make_plan(request, output, folder, workers, sharpen)
        for reason, count in plan.left_out.items():
            log.info("skipped patches: %d (%s)", count, reason)
        merged = folder / output.name
        if not merged.exists():
            write_shards(plan, workers, progress)
            _merge(plan, merged)
        return _publish(plan, merged, output)


@contextmanager
def _work_folder(output: Path, request: Request, overwrite: bool) -> Iterator[Path]:
    """A locked, hidden folder next to the output, which is removed after success.

    Raises:
        OutputError: The output exists, its folder is not writable, another run uses it, or an
            unfinished run in it had other settings.
    """
    files = StoreFiles(output)
    files.check(overwrite=overwrite)
    folder = files.work
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock", output):
        wait_for_orphans(folder)
        settings, saved = request.fingerprint(), folder / "request.json"
        if saved.exists():
            earlier = read_json(saved)
            differs = [key for key in settings if earlier.get(key) != settings[key]]
            if differs and not overwrite:
                raise OutputError(
                    f"{output}: an unfinished run in {folder} had other {', '.join(differs)}; give "
                    "the same to resume it, or --overwrite to start again"
                )
            if differs:
                log.warning("discarding an unfinished run for %s", output)
                for path in folder.iterdir():
                    if path.name != "lock":
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            else:
                log.info("resuming an earlier run")
        saved.write_text(json.dumps(settings), encoding="utf-8")
        try:
            yield folder
        except BaseException:
            if not ExtractionPlan.exists(folder) and not (folder / TILES).exists():
                shutil.rmtree(folder, ignore_errors=True)  # it holds nothing to resume
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _merge(plan: ExtractionPlan, merged: Path) -> None:
    """Merge the shards by reference; a single shard becomes the store itself."""
    shards = [plan.shard_path(number) for number in range(len(plan.counts))]
    shards = [path for path in shards if path.exists()]
    if not shards:
        shutil.rmtree(plan.folder)
        count = sum(plan.counts)
        raise NoPatchError(
            f"none of {counted(count, 'patch')} holds data; nothing was written",
            {**plan.left_out, "without data": count},
        )
    if len(shards) == 1:
        shards[0].replace(merged)
    else:
        merge_patches(shards, merged)


def _publish(plan: ExtractionPlan, merged: Path, output: Path) -> Extraction:
    """Move the shards and then the store into place."""
    own, target = plan.folder / plan.shards, StoreFiles(output).shards
    if own.exists():
        output.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        if any(path.suffix == ".h5" for path in own.iterdir()):
            own.rename(target)
    merged.replace(output)
    store = PatchStore(output)
    missing = sum(plan.counts) - len(store)
    left_out = dict(plan.left_out) | ({"without data": missing} if missing else {})
    if missing:
        log.info("skipped patches: %d (without data)", missing)
    shards = len(list(target.glob("*.h5"))) if target.exists() else 1
    return Extraction(output, len(store), shards, left_out)
