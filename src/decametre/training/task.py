"""The interface between the training loop and what is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from decametre.training.order import SampleOrder
from decametre.training.ranks import Ranks

Batch = TypeVar("Batch")

RankSamples = Callable[[int], list[Sequence[int]]]
"""Maps a step to the numbers of this rank's samples, one list a micro-batch."""


@dataclass(frozen=True)
class Validation:
    """The quality of a network on data that it was not trained on.

    Attributes:
        score: Decides which weights are kept; lower is better.
        record: Values for the log and the model's card.
        picture: uint8, (rows, columns, 3), for TensorBoard; or None. Needed on rank 0 only.
    """

    score: float
    record: dict[str, Any]
    picture: np.ndarray | None


class Task(Protocol[Batch]):
    """A network, its training data and its validation.

    Attributes:
        network: The network to train, on its device. If it has synchronised norms
            (`training.batch_norm`), a rank without samples in a step gets an empty batch.
        order: Order of the samples.
        steps: Steps of the run.
        validate_every: Steps between validations.
        extra_inputs: What the result depends on in addition to the recipe, as plain values. A run
            is only resumed with equal ones.
    """

    network: nn.Module
    order: SampleOrder
    steps: int
    validate_every: int
    extra_inputs: dict[str, Any]

    def batches(self, first: int, end: int, rank_samples: RankSamples) -> Iterator[list[Batch]]:
        """This rank's micro-batches of the steps from `first` up to `end`, prefetched."""
        ...

    def count(self, batch: Batch) -> int:
        """Number of losses that `loss` sums for a batch."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Sum of the losses of a batch, a scalar on the device."""
        ...

    def validate(self, network: nn.Module, ranks: Ranks) -> Validation:
        """Validate a network together with the other ranks; returns the same on each of them."""
        ...

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """Write a model folder: the network's weights and a card."""
        ...
