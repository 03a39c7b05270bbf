"""A rank of `bench balance`: a process on one CPU core that trains and reports its steps.

The process sends messages through a connection. It waits for permission before the speed trials,
and trains until it is asked to stop (SIGTERM) or until the other end of the connection is closed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

from decametre.errors import DecametreError, TrainingError
from decametre.training.observer import StepTimes, TrainingObserver

POLL_INTERVAL = 0.1
"""Seconds between two readings of the messages; each reading takes time from the ranks."""

STOP_TIMEOUT = 60.0
"""Seconds in which a rank that was asked to stop must end, before it is killed."""


@dataclass(frozen=True)
class RankJob:
    """What a rank does.

    Attributes:
        recipe: The recipe as plain values.
        precision: See `decametre.device.choose_precision`.
        folder: The run's folder.
        core: The CPU core.
        variables: Environment variables, such as those of a launcher.
    """

    recipe: dict[str, Any]
    precision: str
    folder: Path
    core: int
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """Message: the products are read."""


@dataclass(frozen=True)
class Failure:
    """Message: the training failed."""

    message: str


class StepReporter(TrainingObserver):
    """Sends the events of a run.

    Args:
        connection: Receives the messages. Step 0 contains the speed trials.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def data_loaded(self) -> None:
        """Send `Ready` and wait for an answer."""
        self.connection.send(Ready())
        self.connection.recv()

    def trials_ended(self, ended: float, seconds: float, shares: Sequence[int]) -> None:
        """Send the speed trials as step 0."""
        self.step_ended(StepTimes(0, ended, 0.0, 0.0, seconds, tuple(shares), ()))

    def step_ended(self, times: StepTimes) -> None:
        """Send a step."""
        self.connection.send(times)


def train_rank(connection: Connection, job: RankJob) -> None:
    """Train in this process. Torch is imported after the core and the variables are set."""
    os.sched_setaffinity(0, {job.core})
    os.environ.update(job.variables)
    logging.getLogger("decametre").setLevel(logging.ERROR)
    from decametre.recipes import training_job
    from decametre.recipes.reading import check_recipe

    try:
        recipe = check_recipe(job.recipe, "bench balance")
        training_job.run(
            recipe,
            job.folder,
            None,
            "cpu",
            job.precision,
            "never",
            lambda done, total, samples: None,
            StepReporter(connection),
        )
    except DecametreError as error:
        connection.send(Failure(str(error)))
    except (KeyboardInterrupt, EOFError, BrokenPipeError):  # asked to stop, or nobody listens
        pass


class RankProcess:
    """A running rank. Use it as a context, which ends the process.

    Args:
        rank: Number of the rank.
        job: What it does.

    Attributes:
        ready: Whether the products are read.
        steps: The steps so far, from step 0.
    """

    def __init__(self, rank: int, job: RankJob) -> None:
        self.rank, self.ready, self.steps = rank, False, list[StepTimes]()
        context = get_context("spawn")
        self.connection, its = context.Pipe()
        self.process = context.Process(target=train_rank, args=(its, job))
        self.process.start()
        its.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def completed(self) -> int:
        """Completed steps."""
        return max(0, len(self.steps) - 1)

    def receive(self) -> None:
        """Read all messages.

        Raises:
            TrainingError: The rank failed.
        """
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, Failure):
                    raise TrainingError(message.message)
                if isinstance(message, StepTimes):
                    self.steps.append(message)
                self.ready = True
        except (EOFError, ConnectionResetError) as error:
            raise TrainingError(f"rank {self.rank} failed; its traceback is above") from error

    def begin(self) -> None:
        """Let the rank begin with the speed trials."""
        self.connection.send(None)


def stop(ranks: Sequence[RankProcess]) -> None:
    """Ask ranks to stop, and wait until they have ended, or for `STOP_TIMEOUT`."""
    deadline = monotonic() + STOP_TIMEOUT
    for rank in ranks:
        rank.process.terminate()
    for rank in ranks:
        with suppress(TrainingError):
            while rank.process.is_alive() and monotonic() < deadline:
                rank.receive()  # so that the connection never blocks the rank
                rank.process.join(POLL_INTERVAL)


def wait_until(ranks: Sequence[RankProcess], condition: Callable[[RankProcess], bool]) -> None:
    """Wait until a condition is true for all ranks.

    Raises:
        TrainingError: A rank failed.
    """
    while not all(map(condition, ranks)):
        sleep(POLL_INTERVAL)
        for rank in ranks:
            rank.receive()
