"""What the training loop needs to know of a task, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from decametre.training.order import Order
from decametre.training.ranks import Ranks

Batch = TypeVar("Batch")

Parts = Callable[[int], list[Sequence[int]]]
"""This rank's samples of a step, by their numbers, in micro-batches."""


@dataclass(frozen=True)
class Validation:
    """How a network does on what it was not trained on.

    Attributes:
        score: Less is better; decides which weights are kept.
        record: For the log and the model's card.
        picture: uint8, (rows, columns, 3), for people; or None. Only rank 0 needs one.
    """

    score: float
    record: dict[str, Any]
    picture: np.ndarray | None


class Task(Protocol[Batch]):
    """A network, what it learns from and how it is judged.

    Attributes:
        network: To be trained, on its device. Where its norms look at all ranks
            (`models.normalization`), a rank without a share of a step has an empty batch.
        order: Of the samples.
        steps: Of the run.
        validate_every: Steps between validations.
        beside: What the result depends on beside the recipe, as plain values: a run goes on only
            where it is the same.
    """

    network: nn.Module
    order: Order
    steps: int
    validate_every: int
    beside: dict[str, Any]

    def batches(self, first: int, end: int, parts: Parts) -> Iterator[list[Batch]]:
        """This rank's micro-batches of the steps `first` to `end`, drawn ahead of time."""
        ...

    def count(self, batch: Batch) -> int:
        """How many losses a batch sums, known before they are."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Sum of the losses, a scalar on the device."""
        ...

    def validate(self, network: nn.Module, ranks: Ranks) -> Validation:
        """Judge a network, together with the other ranks; the same result on each of them."""
        ...

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """Leave a model folder with the network's weights and a card."""
        ...
