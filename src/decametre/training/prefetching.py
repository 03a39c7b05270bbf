"""Micro-batches that worker processes prepare in advance."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from decametre.training.stopping import SIGNALS
from decametre.training.task import Batch, RankSamples

PREFETCH_FACTOR = 4
"""Micro-batches that each worker prepares in advance."""


def prefetch_batches(
    samples: Dataset[Any],
    collate: Callable[[Any], Batch],
    first: int,
    end: int,
    rank_samples: RankSamples,
    *,
    workers: int,
    pin_memory: bool,
) -> Iterator[list[Batch]]:
    """Yield this rank's micro-batches, one list a step.

    Args:
        samples: Samples by number.
        collate: Makes a batch of the samples of a micro-batch.
        first: The first step.
        end: The step after the last one.
        rank_samples: See `RankSamples`.
        workers: Number of worker processes; with 0, batches are prepared in this process.
        pin_memory: Whether batches are placed in page-locked memory, for faster copies to a GPU.
    """

    def from_step(first: int) -> Iterator[Sequence[int]]:
        return ([*part] for step in range(first, end) for part in rank_samples(step))

    batches: Iterator[Batch] | None = None
    for step in range(first, end):
        mine = rank_samples(step)
        # Without samples in any step, a loader would search all steps for the first one.
        if mine and batches is None:
            loader = DataLoader(
                samples,
                batch_sampler=from_step(step),  # type: ignore[arg-type]  # any iterable works
                num_workers=workers,
                collate_fn=collate,
                pin_memory=pin_memory,
                prefetch_factor=PREFETCH_FACTOR if workers else None,
                worker_init_fn=ignore_stop_signals,
            )
            batches = iter(loader)
        yield [next(batches) for _ in mine] if batches is not None else []


def ignore_stop_signals(worker: int) -> None:
    """Ignore stop signals in a worker process: its parent handles them and ends its workers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
