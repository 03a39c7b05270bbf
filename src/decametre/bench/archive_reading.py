"""Reads a store as training does: whole epochs in random order, by the loader.

Started as a process of its own, whose memory is measured: `python -m
decametre.bench.archive_reading STORE.h5 WORKERS`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decametre.bands import BAND_NAMES
from decametre.errors import DecametreError, PatchError
from decametre.patches.images import chosen_images
from decametre.patches.store import PatchStore
from decametre.training.land_cover_samples import LandCoverBatch, LandCoverSamples
from decametre.training.loading import drawn_ahead
from decametre.training.order import Epochs

MICRO_BATCH = 32
FEATURES = 2048
"""Of ResNet-50; dropout is drawn for each."""


def forget(store: PatchStore) -> None:
    """Have the system drop what it remembers of a store's files; of no effect where it cannot."""
    for path in {store.path, *(shard.path for shard in store.shards)}:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is not on the disk yet would stay
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: Path, workers: int) -> dict[str, Any]:
    """Read a store twice.

    Args:
        path: The store.
        workers: Processes that read; with 0 this one does.

    Returns:
        `opened` and `columns`: seconds until the store was open, and until its labels, offsets,
        names and splits were in memory. `epochs`: seconds and processor seconds of the first, which
        found nothing in the page cache, and of the second.

    Raises:
        PatchError: The store cannot be read, or the loader did not give every patch once.
    """
    forget(PatchStore(path))
    start = time.perf_counter()
    store = PatchStore(path)
    opened = time.perf_counter() - start
    start = time.perf_counter()
    for column in ("labels", "offset", "names", "splits"):
        getattr(store, column)
    columns = time.perf_counter() - start
    images = chosen_images(BAND_NAMES, store, sharpened=False)
    places = np.arange(len(store))
    samples = LandCoverSamples(store, places, images, 0, True, None, 0.5, FEATURES)
    epochs = [_epoch(samples, epoch, workers) for epoch in range(2)]
    return {"opened": opened, "columns": columns, "epochs": epochs}


def _epoch(samples: LandCoverSamples, epoch: int, workers: int) -> tuple[float, float]:
    """Read an epoch; seconds, and processor seconds."""
    order = Epochs(len(samples), MICRO_BATCH, 0)
    classes = torch.zeros(len(samples.store.class_names), dtype=torch.int64)
    start, before = time.perf_counter(), sum(os.times()[:4])
    for (batch,) in drawn_ahead(
        samples,
        _as_is,
        epoch * order.steps,
        (epoch + 1) * order.steps,
        lambda step: [order.samples(step)],
        workers=workers,
        pinned=False,
    ):
        classes += batch.classes.sum(0)
    seconds = time.perf_counter() - start, sum(os.times()[:4]) - before
    if classes.tolist() != samples.store.labels.sum(0).tolist():
        raise PatchError(f"{samples.store.path}: an epoch had other classes than the store")
    return seconds


def _as_is(batch: LandCoverBatch) -> LandCoverBatch:
    return batch


def main(words: Sequence[str]) -> None:
    """Read, and say how long it took."""
    path, workers = words
    sys.stdout.write(json.dumps(read(Path(path), int(workers))) + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DecametreError as error:
        sys.exit(f"decametre: error: {error}")
