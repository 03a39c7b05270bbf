"""A small training task in float64 with batch norm, for runs whose ranks are killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from decametre.recipes.reading import AnyRecipe, read_recipe
from decametre.training.order import EpochOrder, SampleOrder
from decametre.training.ranks import Ranks
from decametre.training.task import RankSamples, Validation

SAMPLES = 40
"""Samples of an epoch: with batches of 16, the last one is short."""

SETTINGS: dict[str, Any] = {
    "optimization.batch": 16,
    # AdamW, momentum of 0.9 and norms over two samples amplify rounding errors from step to step.
    "optimization.micro_batch": 4,
    "optimization.optimizer": "sgd",
    "optimization.momentum": 0.5,
    "optimization.schedule": {"rule": "plateau", "rate": 0.003},
    "optimization.average": 0.9,
    "distribution.balance": "equal",
}

PointBatch = tuple[Tensor, Tensor]
"""Inputs, float64, (samples, 3), and which outputs count, bool, (samples, 4)."""


def fault_recipe(every: int, **changes: Any) -> AnyRecipe:
    """The recipe of a run.

    Args:
        every: Steps between validations.
        changes: Further settings.
    """
    return read_recipe("native_2x", SETTINGS | {"validate_every": every} | changes)


class Points:
    """A regression whose samples have different numbers of losses.

    Args:
        steps: Steps of the run.
        recipe: Its batch size and interval of validations are used.
        pause: Seconds by which each step is longer.
    """

    def __init__(self, steps: int, recipe: AnyRecipe, pause: float) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = nn.Sequential(
            nn.Linear(3, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 4)
        ).double()
        self.order: SampleOrder = EpochOrder(SAMPLES, recipe.optimization.batch, 0)
        self.steps, self.validate_every, self.pause = steps, recipe.validate_every, pause
        self.extra_inputs: dict[str, Any] = {}

    def batches(
        self, first: int, end: int, rank_samples: RankSamples
    ) -> Iterator[list[PointBatch]]:
        """See `Task.batches`."""
        for step in range(first, end):
            time.sleep(self.pause)
            yield [self.draw(part) for part in rank_samples(step)]

    def draw(self, samples: Sequence[int]) -> PointBatch:
        """A batch of samples."""
        generators = [torch.Generator().manual_seed(int(sample)) for sample in samples]
        xs = [torch.randn(3, generator=random, dtype=torch.float64) for random in generators]
        counted = [[sample % 4 >= column for column in range(4)] for sample in samples]
        return torch.stack(xs), torch.tensor(counted)

    def count(self, batch: PointBatch) -> int:
        """See `Task.count`."""
        return int(batch[1].sum())

    def loss(self, network: nn.Module, batch: PointBatch) -> Tensor:
        """See `Task.loss`."""
        x, counted = batch
        return ((network(x) - x.sum(1, keepdim=True)).square() * counted).sum()

    def validate(self, network: nn.Module, ranks: Ranks) -> Validation:
        """See `Task.validate`."""
        x, _ = self.draw(range(1000, 1008))
        with torch.no_grad():
            errors = (network(x) - x.sum(1, keepdim=True)).abs().mean(1)
        parts = ranks.gather(errors[ranks.rank :: ranks.size].tolist())
        return Validation(sum(map(sum, parts)) / len(x), {}, None)

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """See `Task.save`."""
        (folder / "saved.json").write_text(json.dumps({"step": step}))
