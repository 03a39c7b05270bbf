"""Events of a training run, for benchmarks that measure its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepTimes:
    """How long the parts of a step took on this rank. Times are in seconds.

    Attributes:
        step: Number of the step, from 1.
        ended: When the step ended, by `time.perf_counter`.
        waiting: Waiting for the step's samples.
        exchange: Exchanging the counts before the step, including the wait for other ranks.
        balancing: Computing new shares.
        shares: Share of each rank in this step.
        computing: Compute time of each rank in the previous step.
    """

    step: int
    ended: float
    waiting: float
    exchange: float
    balancing: float
    shares: tuple[int, ...]
    computing: tuple[float, ...]


class TrainingObserver:
    """Receives the events of a run. The methods of this class do nothing."""

    def data_loaded(self) -> None:
        """The data are loaded; the speed trials follow."""

    def trials_ended(self, ended: float, seconds: float, shares: Sequence[int]) -> None:
        """The speed trials have ended; the first step follows.

        Args:
            ended: When they ended, by `time.perf_counter`.
            seconds: How long they took.
            shares: Share of each rank in the first step.
        """

    def step_ended(self, times: StepTimes) -> None:
        """A step has ended."""
