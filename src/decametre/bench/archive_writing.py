"""Writes the shards of a made archive, one after the other.

Started as a process of its own, so that it can be killed: `python -m
decametre.bench.archive_writing PRODUCT FOLDER PATCHES SHARDS`. Started again, it goes on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from decametre.bench.archive_patches import NOMENCLATURE, MadePatches, name_of
from decametre.errors import DecametreError
from decametre.patches.file_format import Header
from decametre.patches.importing import BATCH
from decametre.patches.patch import NATIVE_KEYS
from decametre.patches.store import PatchWriter

HEADER = Header(NOMENCLATURE, NATIVE_KEYS, job="decametre bench archive")


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard is written."""
    return folder / f"shard_{shard}.h5"


def numbers_of(patches: int, shards: int, shard: int) -> range:
    """The patches of a shard."""
    return range(patches * shard // shards, patches * (shard + 1) // shards)


def write(source: str, folder: Path, patches: int, shards: int) -> dict[str, float]:
    """Write what is not there yet.

    Args:
        source: The product whose pixels patches are made of.
        folder: Where shards are written.
        patches: Of all shards.
        shards: How many; each is said to be of another product.

    Returns:
        `patches` that were written now; `seconds` and `processor_seconds` in the writer, its
        opening and closing included. The rest of the time patches were made.

    Raises:
        DecametreError: Product or folder cannot be used.
    """
    make = MadePatches(source)
    written, spent = 0, np.zeros(2)
    for shard in range(shards):
        if shard_path(folder, shard).exists():
            continue
        numbers = numbers_of(patches, shards, shard)
        spent -= _clocks()
        with PatchWriter(shard_path(folder, shard), HEADER, len(numbers)) as writer:
            missing = [number for number in numbers if name_of(number) not in writer.names]
            for at in range(0, len(missing), BATCH):
                spent += _clocks()
                batch = [make.patch(number, shard) for number in missing[at : at + BATCH]]
                spent -= _clocks()
                writer.append(batch)
            written += len(missing)
        spent += _clocks()
    seconds, processor_seconds = spent.tolist()
    return {"patches": written, "seconds": seconds, "processor_seconds": processor_seconds}


def _clocks() -> np.ndarray:
    """Of the wall and of the processor, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def main(words: Sequence[str]) -> None:
    """Write, and say what was done."""
    source, folder, patches, shards = words
    sys.stdout.write(json.dumps(write(source, Path(folder), int(patches), int(shards))) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DecametreError as error:
        sys.exit(f"decametre: error: {error}")
