"""Micro-batches drawn ahead of time, by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from decametre.training.stopping import SIGNALS
from decametre.training.task import Batch, Parts

AHEAD = 4
"""Micro-batches that each worker draws ahead."""


def drawn_ahead(
    samples: Dataset[Any],
    collate: Callable[[Any], Batch],
    first: int,
    end: int,
    parts: Parts,
    *,
    workers: int,
    pinned: bool,
) -> Iterator[list[Batch]]:
    """This rank's micro-batches of the steps `first` to `end`.

    Args:
        samples: By their numbers.
        collate: Makes a batch of what `samples` gives for a micro-batch.
        first: The first step.
        end: The step after the last.
        parts: This rank's samples of a step.
        workers: Processes that draw; 0 draws in this one.
        pinned: In memory from which a GPU copies on its own.
    """

    def batches(first: int) -> Iterator[Sequence[int]]:
        return ([*part] for step in range(first, end) for part in parts(step))

    drawn: Iterator[Batch] | None = None
    for step in range(first, end):
        mine = parts(step)
        if mine and drawn is None:  # a loader would look for a sample in all steps to come
            loader = DataLoader(
                samples,
                batch_sampler=batches(step),  # type: ignore[arg-type]  # any iterable will do
                num_workers=workers,
                collate_fn=collate,
                pin_memory=pinned,
                prefetch_factor=AHEAD if workers else None,
                worker_init_fn=leave_signals_to_parent,
            )
            drawn = iter(loader)
        yield [next(drawn) for _ in mine] if drawn is not None else []


def leave_signals_to_parent(worker: int) -> None:
    """In a worker: the parent alone answers signals, and ends its workers itself."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
