"""How close do ranks of unequal speed come to their ideal throughput? Measured on two CPU cores.

Two ranks train by the program of `decametre train`, each on its own core. Rank 1 is slowed down by
other processes that compute on its core: the scheduler gives each of them an equal part of the
core. This affects everything that the rank does, including its helper threads, as on a machine that
is shared with others.

A measurement consists of three runs in quick succession. *Alone*: both ranks train at the same
time but independently, with the complete batch; the sum of their throughputs is the ideal, on the
same cores, caches and memory. *Equal* and *auto*: they share the batch.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from decametre.bench.balance_measurement import (
    WARM_UP,
    WARM_UP_FIXED,
    BalanceMeasurement,
    SpeedChange,
    summarise,
)
from decametre.bench.balance_rank import RankJob, RankProcess, stop, wait_until
from decametre.bench.cpu_load import competitor, measure_other_programs
from decametre.errors import DeviceError, TrainingError
from decametre.training.launcher import read_rank_info
from decametre.training.observer import StepTimes
from decametre.training.recipe import Recipe

log = logging.getLogger(__name__)

Balance = Literal["equal", "auto"]

BEFORE, DURING, AFTER = 50, 60, 80
"""Steps of a run before rank 1 is slowed down, while it is slow, and after it has recovered."""

BUSY_LIMIT = 0.05
"""If other programs use more than this fraction of the two cores, a warning is logged."""

ENDLESS = 10**9
"""Steps of a run that is stopped from outside."""


@dataclass(frozen=True)
class BalanceBench:
    """Measures a recipe.

    Attributes:
        recipe: With products for training and validation.
        precision: See `decametre.device.choose_precision`.
        cores: CPU cores of rank 0 and rank 1.
        scratch: Folder for temporary files.
    """

    recipe: Recipe
    precision: str
    cores: tuple[int, int]
    scratch: Path

    def measure(self, ratio: int, turn: int, steps: int) -> BalanceMeasurement:
        """Take the three runs of a measurement, in reverse order in every other turn.

        Args:
            ratio: See `BalanceMeasurement`.
            turn: See `BalanceMeasurement`.
            steps: Steps that count in each shared run.
        """
        runs: dict[Balance | None, int] = {
            None: WARM_UP_FIXED + max(2, steps // 4),
            "equal": WARM_UP_FIXED + steps,
            "auto": WARM_UP + steps,
        }
        times, others = {}, []
        for balance in reversed(runs) if turn % 2 else runs:
            with measure_other_programs(self.cores) as fraction:
                times[balance] = self.take_steps(balance, ratio, runs[balance])
            others += fraction
        return summarise(
            ratio,
            turn,
            self.recipe.optimization.batch,
            alone=times[None],
            equal=times["equal"][0][: runs["equal"] + 1],
            auto=[of_rank[: runs["auto"] + 1] for of_rank in times["auto"]],
            others=max(others),
        )

    def change_speed(self, ratio: int, alone: tuple[float, float]) -> SpeedChange:
        """Slow rank 1 down in the middle of a run, and let it recover.

        Args:
            ratio: See `BalanceMeasurement`.
            alone: Samples a second of each rank alone, while rank 1 is slow.
        """
        with measure_other_programs(self.cores) as others, self._training("auto", 1) as ranks:
            slowed = wait_for(ranks, BEFORE)
            with self._slowed(ratio):
                recovered = wait_for(ranks, slowed + DURING)
            end = wait_for(ranks, recovered + AFTER)
            steps = ranks[0].steps[1 : end + 1]
        return SpeedChange(
            ratio=ratio,
            slowed=slowed,
            recovered=recovered,
            shares=tuple(step.shares[1] for step in steps),
            fitting=self.recipe.optimization.batch * alone[1] / sum(alone),
            others=others[0],
        )

    def take_steps(self, balance: Balance | None, ratio: int, steps: int) -> list[list[StepTimes]]:
        """Train for some steps with a slow rank 1.

        Args:
            balance: How the ranks share a batch; None: each trains alone.
            ratio: See `BalanceMeasurement`.
            steps: How many steps, at least.

        Returns:
            The steps of each rank, from step 0.
        """
        with self._training(balance, ratio) as ranks:
            wait_for(ranks, steps)
            return [list(rank.steps) for rank in ranks]

    @contextmanager
    def _slowed(self, ratio: int) -> Iterator[None]:
        with ExitStack() as competitors:
            for _ in range(ratio - 1):
                competitors.enter_context(competitor(self.cores[1]))
            yield

    @contextmanager
    def _training(self, balance: Balance | None, ratio: int) -> Iterator[list[RankProcess]]:
        """In this context both ranks train. Rank 1 is slow from the speed trials on."""
        recipe = self.recipe.model_dump(mode="json")
        recipe["optimization"]["steps"] = recipe["validate_every"] = ENDLESS
        recipe["distribution"]["balance"] = balance or "equal"
        port = free_port()
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch, ExitStack() as running:
            ranks = []
            for rank, core in enumerate(self.cores):
                variables = {"OMP_NUM_THREADS": "1"}
                if balance is not None:
                    variables |= {
                        "RANK": str(rank),
                        "WORLD_SIZE": "2",
                        "MASTER_ADDR": "127.0.0.1",
                        "MASTER_PORT": str(port),
                    }
                folder = Path(scratch) / (f"run-{rank}" if balance is None else "run")
                job = RankJob(recipe, self.precision, folder, core, variables)
                ranks.append(running.enter_context(RankProcess(rank, job)))
            wait_until(ranks, lambda rank: rank.ready)
            with self._slowed(ratio):
                for started in ranks:
                    started.begin()
                yield ranks
            stop(ranks)


def wait_for(ranks: Sequence[RankProcess], steps: int) -> int:
    """Wait until all ranks have completed some steps.

    Returns:
        How many steps rank 0 has completed then.

    Raises:
        TrainingError: A rank failed.
    """
    wait_until(ranks, lambda rank: rank.completed >= steps)
    return ranks[0].completed


def free_port() -> int:
    """A free TCP port of this host."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def choose_cores(available: Sequence[int]) -> tuple[int, int]:
    """The CPU cores of rank 0 and rank 1.

    Raises:
        DeviceError: There are fewer than two.
    """
    if len(available) < 2:
        raise DeviceError(
            f"this process may use {len(available)} CPU core, but two ranks need two; allow it "
            "another one"
        )
    fast, slow, *_ = sorted(available)
    return fast, slow


def check_measurable(recipe: Recipe) -> None:
    """Check that two ranks can share the recipe's batch, and that no launcher started this process.

    Raises:
        TrainingError: One of these is not the case.
    """
    unit = recipe.optimization.micro_batch or 1
    if recipe.optimization.batch < 2 * unit:
        raise TrainingError(
            f"optimization.batch {recipe.optimization.batch} is one sample or micro-batch, which "
            "two ranks cannot share; use a larger batch"
        )
    if read_rank_info().address:
        raise TrainingError(
            "bench balance starts its two ranks itself; run it without torchrun or srun"
        )


def run(
    recipe: Recipe, ratios: Sequence[int], steps: int, repeat: int, precision: str, scratch: Path
) -> tuple[list[BalanceMeasurement], SpeedChange | None]:
    """Take all measurements; the ratios alternate.

    Args:
        recipe: With products for training and validation.
        ratios: See `BalanceMeasurement.ratio`. If the largest is above 1, one more run slows rank 1
            down by it and lets it recover.
        steps: Steps that count in each shared run.
        repeat: How often each measurement is taken.
        precision: See `decametre.device.choose_precision`.
        scratch: Folder for temporary files.

    Raises:
        DecametreError: As in training; or there are fewer than two cores; or a launcher started
            this process.
    """
    check_measurable(recipe)
    bench = BalanceBench(recipe, precision, choose_cores([*os.sched_getaffinity(0)]), scratch)
    measurements = []
    for turn in range(repeat):
        for ratio in ratios:
            found = bench.measure(ratio, turn, steps)
            measurements.append(found)
            log.info(
                "1:%d, measured 1:%.2f: equal %.1f %%, auto %.1f %% of %.3g samples/s (%d of %d)",
                ratio,
                found.measured_ratio,
                100 * found.equal / found.ideal,
                100 * found.auto / found.ideal,
                found.ideal,
                turn + 1,
                repeat,
            )
            if found.others > BUSY_LIMIT:
                log.warning(
                    "other programs used %.0f %% of the two cores: repeat the measurement on an "
                    "idle machine",
                    100 * found.others,
                )
    slowest = max(measurements, key=lambda found: found.ratio)
    if slowest.ratio == 1:
        return measurements, None
    return measurements, bench.change_speed(slowest.ratio, slowest.alone)
