"""Loss, speed and waiting times between two validations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from decametre.training.load_balancing import efficiency
from decametre.training.ranks import Ranks


class Meter:
    """Accumulates the loss and the times of steps.

    Args:
        ranks: The ranks that train together.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.loss_sum = torch.zeros((), device=ranks.device, dtype=torch.float64)
        self.count = 0.0
        self.steps, self.skipped, self.waited = 0, 0, 0.0
        self.begun = time.perf_counter()
        self.latest: Sequence[int] = ()
        self.samples, self.seconds = [0] * ranks.size, [0.0] * ranks.size

    def add_compute_times(self, seconds: Sequence[float]) -> None:
        """Add the compute time of each rank in the step that was added last."""
        if self.latest:
            self.samples = [a + b for a, b in zip(self.samples, self.latest, strict=True)]
            self.seconds = [a + b for a, b in zip(self.seconds, seconds, strict=True)]

    def add_step(
        self, loss_sum: Tensor | None, count: float, samples: Sequence[int], waited: float
    ) -> None:
        """Add a step, without waiting for the device.

        Args:
            loss_sum: Sum of this rank's losses; None if the step was skipped.
            count: Number of losses of all ranks.
            samples: Samples of each rank.
            waited: Seconds in which this rank waited for its samples.
        """
        self.steps, self.latest = self.steps + 1, samples
        self.waited += waited
        if loss_sum is None:
            self.skipped += 1
            return
        self.loss_sum, self.count = self.loss_sum + loss_sum, self.count + count

    def read(self) -> dict[str, Any]:
        """The record for the log: mean loss over all ranks, speed, and how the time was spent."""
        seconds = time.perf_counter() - self.begun
        (loss_sum,) = self.ranks.sum([float(self.loss_sum)])
        record: dict[str, Any] = {
            # There is no loss if all steps were skipped.
            "loss": round(loss_sum / self.count, 8) if self.count else None,
            "steps_per_second": round(self.steps / seconds, 3),
            "waiting_for_data": round(self.waited / seconds, 4),
        }
        if self.skipped:
            record["skipped_steps"] = self.skipped
        if self.ranks.size > 1:
            record["ranks"] = self._by_rank(seconds)
        return record

    def _by_rank(self, seconds: float) -> dict[str, Any]:
        waited = self.ranks.gather(self.waited / seconds)
        record: dict[str, Any] = {
            "samples": self.samples,
            "computing": [round(s / seconds, 4) for s in self.seconds],
            "waiting_for_data": [round(w, 4) for w in waited],
        }
        if any(self.seconds):
            record["efficiency"] = round(efficiency(self.samples, self.seconds, seconds), 4)
        return record
