"""A worker of an extraction: writes shards one after the other, and resumes those begun.

It is a process of its own, `python -m decametre.landcover.extraction.shard_worker FOLDER
SHARD...`, and reports its progress on standard output, one JSON document a line. When the process
that reads them has died, writing the next line ends the worker, too.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from decametre.errors import DecametreError
from decametre.landcover.extraction.cutting import Source, cut_patches
from decametre.landcover.extraction.placing import PlacedPatch
from decametre.landcover.extraction.plan import Job
from decametre.landcover.patches.patch import Patch
from decametre.landcover.patches.store_writer import PatchWriter
from decametre.sentinel2.opening import open_product
from decametre.superres.sharpening.sharpened_tile import open_sharpened

_BATCH = 64
"""Patches that are written at once, at least."""

Report = Callable[[int, int], None]
"""Called with the number of a shard and how many of its patches have been dealt with."""


class _NoDataError(Exception):
    """Not one patch of a shard holds data."""


def write_shard(job: Job, shard: int, report: Report) -> None:
    """Cut all patches of a shard, or those that an earlier run has not.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    share = job.share(shard)
    if not (job.shard_path(shard).exists() or job.empty_path(shard).exists()):
        try:
            with PatchWriter(job.shard_path(shard), job.header, len(share)) as writer:
                first = 1 + max(
                    (i for i, (_, patch) in enumerate(share) if patch.name in writer.names),
                    default=-1,
                )
                report(shard, first)
                for done, patches in _batches(_rows(job, share[first:])):
                    writer.append(patches)
                    report(shard, first + done)
                if not writer.length:
                    raise _NoDataError
        except _NoDataError:
            job.empty_path(shard).touch()
    report(shard, len(share))


def _rows(job: Job, share: Sequence[tuple[int, PlacedPatch]]) -> Iterator[tuple[int, list[Patch]]]:
    """Rows of patches: how many were asked for in each, and those that hold data."""
    for number, group in groupby(share, key=lambda each: each[0]):
        origin, wanted = job.origins[number], [patch for _, patch in group]
        tile = open_sharpened(Path(origin.tile)) if origin.tile else None
        source = Source(open_product(origin.source, origin.offset), tile, job.header.keys)
        sizes = [len(list(row)) for _, row in groupby(wanted, key=lambda patch: patch.row)]
        yield from zip(sizes, cut_patches(source, wanted), strict=True)


def _batches(rows: Iterator[tuple[int, list[Patch]]]) -> Iterator[tuple[int, list[Patch]]]:
    """Rows put together to batches, each with how many patches were asked for up to its end."""
    done, batch = 0, list[Patch]()
    for size, patches in rows:
        done += size
        batch += patches
        if len(batch) >= _BATCH:
            yield done, batch
            batch = []
    yield done, batch


def main(arguments: Sequence[str]) -> int:
    """Write the shards that are named, and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; who started us ends us
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    def tell(**what: object) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    try:
        job = Job.load(Path(arguments[0]))
        for shard in map(int, arguments[1:]):
            write_shard(job, shard, lambda at, done: tell(shard=at, done=done))
    except DecametreError as error:
        tell(error=": ".join([*getattr(error, "__notes__", []), str(error)]))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
