"""One rank of `bench balance`: the training of `decametre train`, which notes what its steps took.

Started as a process of its own: `python -m decametre.bench.balance_rank WORK.json`. It waits until
it may begin, and trains until it is told to stop, as any run (SIGTERM), or who started it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from decametre.errors import DecametreError
from decametre.recipes import training_job
from decametre.recipes.reading import check_recipe
from decametre.training.batch_sharing import BatchSharing
from decametre.training.ranks import PendingSums, Ranks

POLL = 0.05
"""Seconds between looks whether to begin."""


@dataclass(frozen=True)
class Work:
    """What a rank is to do.

    Attributes:
        recipe: As JSON.
        precision: See `inference.device.choose_precision`.
        folder: Of the run.
        notes: Where the steps are noted.
        ready: File that is made when all products are read.
        begin: File that is then waited for.
    """

    recipe: dict[str, Any]
    precision: str
    folder: str
    notes: str
    ready: str
    begin: str


@dataclass(frozen=True)
class Step:
    """A step, as a rank saw it. Step 0 is what comes before the first one.

    Attributes:
        step: Its number, from 1.
        ended: When, by the machine's clock, in seconds.
        drawing: Seconds until its samples were there.
        exchange: Seconds in the exchange of a few numbers before it, waiting for the others
            included.
        balancing: Seconds that were spent on shares; at step 0 on the speed trials.
        shares: Of the step, one a rank; of step 0 those of the first step.
        computing: Seconds that each rank computed in the step before.
    """

    step: int
    ended: float
    drawing: float
    exchange: float
    balancing: float
    shares: tuple[int, ...]
    computing: tuple[float, ...]


def read_steps(path: Path) -> list[Step]:
    """The steps that a rank noted; half a line at the end is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    found = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
    return [
        Step(**line | {key: tuple(line[key]) for key in ("shares", "computing")}) for line in found
    ]


class Notes:
    """Notes the steps of a run in this process, one a line.

    Args:
        file: Where to.
        wait: Called before the speed trials.
    """

    def __init__(self, file: TextIO, wait: Callable[[], None]) -> None:
        self.file, self.wait = file, wait
        self.parent = os.getppid()
        self.ended = time.perf_counter()
        self.drawing, self.exchange, self.balancing = 0.0, 0.0, 0.0
        self.shares: tuple[int, ...] = ()
        self.next_shares: tuple[int, ...] = ()
        self.computing: tuple[float, ...] = ()

    def progress(self, done: int, total: int, samples: int) -> None:
        """A step is done: see `loop.Progress`."""
        check_parent(self.parent)
        now = time.perf_counter()
        line = Step(
            done,
            now,
            self.drawing,
            self.exchange,
            self.balancing,
            self.shares or self.next_shares,
            self.computing,
        )
        self.file.write(json.dumps(asdict(line)) + "\n")
        self.file.flush()
        self.ended, self.shares = now, self.next_shares

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A context in which the loop's parts are timed. They do what they did."""

        def exchange(original: Callable[..., Any], ranks: Ranks, numbers: Any) -> PendingSums:
            begun = time.perf_counter()
            found: PendingSums = original(ranks, numbers)
            self.drawing, self.exchange = begun - self.ended, time.perf_counter() - begun
            return found

        def sums(original: Callable[..., Any], begun_exchange: PendingSums) -> list[float]:
            begun = time.perf_counter()
            found: list[float] = original(begun_exchange)
            self.exchange += time.perf_counter() - begun
            return found

        def measure(original: Callable[..., Any], sharing: BatchSharing, *args: Any) -> None:
            self.wait()
            begun = time.perf_counter()
            original(sharing, *args)
            self.balancing = time.perf_counter() - begun
            self.next_shares = tuple(sharing.shares)

        def observe(
            original: Callable[..., Any], sharing: BatchSharing, seconds: Any, *args: Any
        ) -> bool:
            begun = time.perf_counter()
            changed: bool = original(sharing, seconds, *args)
            self.balancing = time.perf_counter() - begun
            self.next_shares, self.computing = tuple(sharing.shares), tuple(seconds)
            return changed

        with (
            _around(Ranks, "exchange", exchange),
            _around(PendingSums, "sums", sums),
            _around(BatchSharing, "measure", measure),
            _around(BatchSharing, "observe", observe),
        ):
            yield


@contextmanager
def _around(owner: type, name: str, call: Callable[..., Any]) -> Iterator[None]:
    """Let a method be called by another, which gets it as its first argument."""
    original = getattr(owner, name)

    def method(*args: Any, **kwargs: Any) -> Any:
        return call(original, *args, **kwargs)

    setattr(owner, name, method)
    try:
        yield
    finally:
        setattr(owner, name, original)


def check_parent(parent: int) -> None:
    """Stop where nobody is left who would say so.

    Raises:
        KeyboardInterrupt: Our parent is another one by now.
    """
    if os.getppid() != parent:
        raise KeyboardInterrupt


def work(todo: Work) -> None:
    """Train until told to stop.

    Raises:
        DecametreError: As in training.
    """
    recipe = check_recipe(todo.recipe, "bench balance")
    parent = os.getppid()

    def wait() -> None:
        Path(todo.ready).touch()
        while not Path(todo.begin).exists():
            check_parent(parent)
            time.sleep(POLL)

    with Path(todo.notes).open("w", encoding="utf-8") as file:
        notes = Notes(file, wait)
        with notes.taken():
            try:
                training_job.run(
                    recipe, Path(todo.folder), None, "cpu", todo.precision, "never", notes.progress
                )
            except KeyboardInterrupt:
                return


if __name__ == "__main__":
    try:
        work(Work(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    except DecametreError as error:
        sys.exit(f"decametre: error: {error}")
