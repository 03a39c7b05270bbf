"""What the training loop needs to know of a task, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Validation:
    """How a network does on what it was not trained on.

    Attributes:
        score: Less is better; decides which weights are kept.
        record: For the log and the model's card.
        picture: uint8, (rows, columns, 3), for people; or None.
    """

    score: float
    record: dict[str, Any]
    picture: np.ndarray | None


class Task(Protocol[Batch]):
    """A network, what it learns from and how it is judged.

    Attributes:
        network: To be trained, on its device.
        beside: What the result depends on beside the recipe, as plain values: a run goes on only
            where it is the same.
    """

    network: nn.Module
    beside: dict[str, Any]

    def batches(self, first: int, end: int) -> Iterator[Batch]:
        """The batches of steps `first` to `end`; each depends on its step and on nothing else."""
        ...

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of the losses, and how many were summed, as scalar tensors on the device."""
        ...

    def validate(self, network: nn.Module) -> Validation:
        """Judge a network."""
        ...

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """Leave a model folder with the network's weights and a card."""
        ...
