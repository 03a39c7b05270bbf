"""An archive as large as the published ones: written, killed, merged, opened and read.

Its patches are made of a few real pixels (see `archive_patches`). Every stage is a process of its
own, whose memory is measured; two of them are killed in the middle and started again.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from decametre.bench.archive_patches import MadePatches, name_of
from decametre.bench.archive_writing import HEADER, numbers_of, shard_path
from decametre.bench.watched import Watched, watched
from decametre.patches.patch import NATIVE_KEYS, Patch
from decametre.patches.store import PatchStore

log = logging.getLogger(__name__)

COMPARED = 1000
"""Patches whose pixels are compared with what was to be written; as many more around a kill."""

CHUNK = 100
"""Patches that are read at once to be compared."""


@dataclass(frozen=True)
class Restart:
    """A process that was killed by SIGKILL in the middle, and its successor.

    Attributes:
        at: Patches that stood in the output when the successor began, all whole.
        resumed: Seconds from the successor's start until it had written more than stood there.
    """

    at: int
    resumed: float


@dataclass(frozen=True)
class Stage:
    """What a process did.

    Attributes:
        patches: How many.
        seconds: With those before it was killed.
        processor_seconds: Likewise; see `Watched`.
        peak_memory_gb: See `Watched`.
        restart: How it was killed; None where it was not, or had ended before.
    """

    patches: int
    seconds: float
    processor_seconds: float
    peak_memory_gb: float
    restart: Restart | None = None

    @property
    def rate(self) -> float:
        """Patches a second."""
        return self.patches / self.seconds


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        patches: Of the archive.
        shards: How many.
        workers: Of the loader.
        cores: Of the machine.
        memory_gb: Of the machine, in 1e9 bytes.
        archive_gb: What the shards take on the disk, in 1e9 bytes.
        made: Making patches and writing them.
        writing: The writer's part of it, after the restart; its memory is that of both.
        doubled: Patches that stand in the archive more than once.
        lost: Patches that do not stand in it.
        altered: Patches whose pixels or labels are others than were to be written.
        compared: How many were compared.
        presented: Merging by reference.
        consolidated: Copying some shards into one file.
        opened: Seconds until the merged store is open, nothing of it in the page cache.
        columns: Seconds until its labels, names, splits and offsets are in memory.
        first: An epoch by the training loader, nothing in the page cache.
        second: The next one.
    """

    patches: int
    shards: int
    workers: int
    cores: int
    memory_gb: float
    archive_gb: float
    made: Stage
    writing: Stage
    doubled: int
    lost: int
    altered: int
    compared: int
    presented: Stage
    consolidated: Stage
    opened: float
    columns: float
    first: Stage
    second: Stage

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def table(self) -> str:
        """For the terminal, in Markdown."""
        head = (
            f"| {self.patches:,} patches in {self.shards} shards, {self.archive_gb:.1f} GB; "
            f"{self.cores} cores, {self.memory_gb:.0f} GB of memory | patches | time | "
            "processor time | patches/s | peak memory |"
        )
        stages = {
            "patches made and written": self.made,
            "of that, written, after the restart": self.writing,
            "merged by reference": self.presented,
            "consolidated": self.consolidated,
            f"first epoch, loader with {self.workers} workers": self.first,
            "second epoch": self.second,
        }
        rows = [
            f"| {what} | {stage.patches:,} | {stage.seconds:.1f} s | "
            f"{stage.processor_seconds:.1f} s | {stage.rate:,.0f} | {stage.peak_memory_gb:.2f} GB |"
            for what, stage in stages.items()
        ]
        notes = [
            f"Writing {_told(self.made.restart)}.",
            f"Consolidating {_told(self.consolidated.restart)}.",
            f"Patches doubled: {self.doubled}, lost: {self.lost}; altered: {self.altered} of "
            f"{self.compared:,} that were compared.",
            f"Opened in {1e3 * self.opened:.0f} ms; labels, offsets, names and splits read in "
            f"{1e3 * self.columns:.0f} ms.",
        ]
        return "\n".join([head, "|---|---|---|---|---|---|", *rows, "", *notes])


def _told(restart: Restart | None) -> str:
    if restart is None:
        return "ended before it could be killed"
    return (
        f"was killed and started again: {restart.at:,} patches found, the next ones written after "
        f"{restart.resumed:.1f} s"
    )


def run(
    source: str, folder: Path, patches: int, shards: int, consolidated: int, workers: int
) -> Report:
    """Measure.

    Args:
        source: A product whose pixels patches are made of.
        folder: Where to make the archive, 161 kB a patch, and once more for those that are
            consolidated.
        patches: How many; at least two a shard.
        shards: Files that they are written to, each of a made product.
        consolidated: How many of the shards are copied into one file.
        workers: Processes of the loader.

    Raises:
        DecametreError: A process failed.
    """
    log.info("writing %d patches; killed in the middle", patches)
    made, writing = _write(source, folder, patches, shards)
    paths = [shard_path(folder, shard) for shard in range(shards)]
    merged, plain = folder / "merged.h5", folder / "plain.h5"
    log.info("merging")
    presented = _merge(paths, merged, patches, "")
    log.info("comparing")
    doubled, lost = _named(PatchStore(merged), range(patches))
    kills = [made.restart.at] if made.restart else []
    altered, compared = _compared(source, PatchStore(merged), patches, shards, kills)
    log.info("consolidating %d shards; killed in the middle", consolidated)
    copied = numbers_of(patches, shards, consolidated - 1).stop
    copying = _merge(paths[:consolidated], plain, copied, "--consolidate")
    again = _named(PatchStore(plain), range(copied))
    kills = [copying.restart.at] if copying.restart else []
    more, others = _compared(source, PatchStore(plain), patches, shards, kills)
    plain.unlink()
    log.info("reading by %d workers", workers)
    process = watched([*_module("archive_reading"), str(merged), str(workers)])
    found = json.loads(process.output)
    return Report(
        patches,
        shards,
        workers,
        os.cpu_count() or 1,
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        sum(path.stat().st_size for path in paths) / 1e9,
        made,
        writing,
        doubled + again[0],
        lost + again[1],
        altered + more,
        compared + others,
        presented,
        copying,
        found["opened"],
        found["columns"],
        *(Stage(patches, wall, cores, process.peak_memory_gb) for wall, cores in found["epochs"]),
    )


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"decametre.bench.{name}"]


def _write(source: str, folder: Path, patches: int, shards: int) -> tuple[Stage, Stage]:
    """Write the shards; also the writer's part of it."""
    command = [*_module("archive_writing"), source, str(folder), str(patches), str(shards)]
    middle = shards // 2
    numbers = numbers_of(patches, shards, middle)
    partial = folder / f".{shard_path(folder, middle).name}.partial"
    stage, last = _killed_and_restarted(command, partial, len(numbers), numbers.start, patches)
    return stage, Stage(**json.loads(last.output), peak_memory_gb=stage.peak_memory_gb)


def _merge(shards: Sequence[Path], output: Path, patches: int, option: str) -> Stage:
    """`decametre patches merge` as users run it."""
    command = [sys.executable, "-m", "decametre", "-q", "patches", "merge"]
    command += [*map(str, shards), str(output), *([option] if option else [])]
    if not option:
        process = watched(command)
        return _stage(patches, [process])
    partial = output.with_name(f".{output.name}.partial")
    return _killed_and_restarted(command, partial, patches, 0, patches)[0]


def _killed_and_restarted(
    command: Sequence[str], partial: Path, count: int, before: int, patches: int
) -> tuple[Stage, Watched]:
    """Run a writer, kill it in the middle of a file, and run it again.

    Args:
        command: It.
        partial: What it writes that file as.
        count: Patches of that file.
        before: Patches that it writes before, to other files.
        patches: Patches that it writes in all.

    Returns:
        What it did, and the last of its processes.
    """
    half = count * HEADER.patch_bytes // 2
    first = watched(command, lambda seconds: _on_disk(partial) > half)
    if not first.killed:
        return _stage(patches, [first]), first
    stood = _on_disk(partial)
    resumed: list[float] = []

    def note(seconds: float) -> bool:
        if not resumed and (_on_disk(partial) > stood or not partial.exists()):
            resumed.append(seconds)
        return False

    with h5py.File(partial, "r", locking=False) as file:
        whole = int((file["name"].asstr()[:] != "").sum())
    second = watched(command, note)
    restart = Restart(before + whole, (resumed or [second.seconds])[0])
    return _stage(patches, [first, second], restart), second


def _stage(patches: int, processes: Sequence[Watched], restart: Restart | None = None) -> Stage:
    return Stage(
        patches,
        sum(process.seconds for process in processes),
        sum(process.processor_seconds for process in processes),
        max(process.peak_memory_gb for process in processes),
        restart,
    )


def _named(store: PatchStore, numbers: range) -> tuple[int, int]:
    """How many patches stand in a store beside those that should, and how many do not."""
    expected = {name_of(number) for number in numbers}
    there = expected & set(store.names)
    return len(store) - len(there), len(expected) - len(there)


def _compared(
    source: str, store: PatchStore, patches: int, shards: int, kills: Sequence[int]
) -> tuple[int, int]:
    """How many patches are not what was to be written, and how many were looked at.

    Args:
        source: See `run`.
        store: Of the first patches of the archive.
        patches: Of the archive.
        shards: Of the archive.
        kills: Places at which a writer was killed; patches around them are looked at.
    """
    make = MadePatches(source)
    chosen = set(np.linspace(0, len(store) - 1, COMPARED).astype(int).tolist())
    for kill in kills:
        around = range(kill - COMPARED // 2, kill + COMPARED // 2)
        chosen |= set(around) & set(range(len(store)))
    starts = [numbers_of(patches, shards, shard).start for shard in range(shards)]
    altered, order = 0, sorted(chosen)
    for begin in range(0, len(order), CHUNK):
        places = order[begin : begin + CHUNK]
        for place, found in zip(places, store.patches(places), strict=True):
            shard = int(np.searchsorted(starts, place, side="right")) - 1
            altered += not _alike(found, make.patch(place, shard))
    return altered, len(order)


def _alike(one: Patch, other: Patch) -> bool:
    beside = ("name", "product", "crs", "origin", "split", "labels")
    return (
        all(getattr(one, key) == getattr(other, key) for key in beside)
        and all(np.array_equal(one.data[key], other.data[key]) for key in NATIVE_KEYS)
        and np.array_equal(one.offset, other.offset)
    )


def _on_disk(path: Path) -> int:
    """Bytes that a file takes; what is not written yet takes none."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
