"""Do ranks of unequal speed train as fast as they could? Measured on two cores of this machine.

Two ranks, each on a core of its own, train by the program of `decametre train`. Rank 1 is made slow
by other processes that compute on its core: the scheduler gives each of them as much of it. All
that a rank does meets them, its helper threads too, as on a machine that somebody else uses.

Each measurement consists of three runs, soon after each other. *Alone*: the two ranks train
at the same time, each for itself, with the recipe's whole batch; the sum of what they do is the
ideal, on the same cores, caches and memory. *Equal* and *auto*: they share the batch.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, mode
from typing import Literal

import torch

from decametre.bench.balance_rank import Step, Work, read_steps
from decametre.bench.scaling import processor_name
from decametre.errors import DeviceError, TrainingError
from decametre.training.launcher import read_rank_info
from decametre.training.recipe import Recipe

log = logging.getLogger(__name__)

Balance = Literal["equal", "auto"]

WARM_UP = 15
"""Steps of `auto` before those that count: shares come to rest."""

WARM_UP_FIXED = 3
"""The same where nothing changes shares: memory and the library's choices settle."""

BEFORE, DURING, AFTER = 50, 60, 80
"""Steps of a run in which rank 1 is fast, becomes slow and recovers."""

POLL = 0.1
"""Seconds between looks at what the ranks noted; each takes time from them."""

BUSY = 0.05
"""Part of the two cores' time, above which other programs spoil a measurement."""

PATIENCE = 60.0
"""Seconds in which ranks that were told to stop have done so."""

NEVER = 10**9
"""Steps that no run comes to: it is told to stop."""


@dataclass(frozen=True)
class Measurement:
    """Training alone, with equal shares and with shares by speed, soon after each other.

    Attributes:
        ratio: Asked for: rank 1 shares its core with `ratio` - 1 other processes.
        turn: Which of the repeats, from 0.
        batch: Samples of a step.
        alone: Samples a second of each rank that trains for itself.
        equal: Samples a second with equal shares.
        auto: Samples a second with shares by speed.
        shares: Most frequent ones of `auto`.
        trials: Seconds of the speed trials before the first step of `auto`; not in its rate.
        exchange: Part of the time of `auto` in the exchange before a step, as it is for the rank
            that comes last, and so waits for nobody.
        balancing: Part of the time of `auto` in which shares are reckoned and, where they change,
            samples are drawn anew.
        computing: Part of the time of `auto` in which each rank computes; the median step's.
        others: Part of the two cores' time that other programs took, in the worst of the runs.
    """

    ratio: int
    turn: int
    batch: int
    alone: tuple[float, float]
    equal: float
    auto: float
    shares: tuple[int, ...]
    trials: float
    exchange: float
    balancing: float
    computing: tuple[float, ...]
    others: float

    @property
    def ideal(self) -> float:
        """Samples a second, were there no waiting and nothing to exchange."""
        return sum(self.alone)

    @property
    def measured_ratio(self) -> float:
        """How many times faster rank 0 is."""
        return self.alone[0] / self.alone[1]


@dataclass(frozen=True)
class Change:
    """A run in which rank 1 becomes slow and recovers.

    Attributes:
        ratio: See `Measurement`.
        slowed: The last step before the other processes were started.
        recovered: The last step before they were stopped.
        shares: Of rank 1, of each step from 1.
        fitting: The share that fits the slowed rank 1 by what both do alone.
        others: See `Measurement`.
    """

    ratio: int
    slowed: int
    recovered: int
    shares: tuple[int, ...]
    fitting: float
    others: float


@dataclass(frozen=True)
class Bench:
    """What all runs have in common.

    Attributes:
        recipe: With products to train and validate on.
        precision: See `inference.device.choose_precision`.
        cores: Of rank 0 and of rank 1.
        scratch: Folder for the runs.
    """

    recipe: Recipe
    precision: str
    cores: tuple[int, int]
    scratch: Path

    def measure(self, ratio: int, turn: int, steps: int) -> Measurement:
        """Take the three runs of a measurement; every other turn the other way round.

        Args:
            ratio: See `Measurement`.
            turn: See `Measurement`.
            steps: How many count in each shared run.
        """
        runs: dict[Balance | None, int] = {
            None: WARM_UP_FIXED + max(2, steps // 4),
            "equal": WARM_UP_FIXED + steps,
            "auto": WARM_UP + steps,
        }
        noted, others = {}, []
        for balance in reversed(runs) if turn % 2 else runs:
            with others_on(self.cores) as other:
                noted[balance] = self._run(balance, ratio, runs[balance])
            others += other
        batch = self.recipe.optimization.batch
        auto = [of_rank[: runs["auto"] + 1] for of_rank in noted["auto"]]
        exchange, balancing = costs(auto)
        counted = auto[0][WARM_UP + 1 :]
        length = (counted[-1].ended - auto[0][WARM_UP].ended) / len(counted)
        return Measurement(
            ratio=ratio,
            turn=turn,
            batch=batch,
            alone=rates_at_once(noted[None], batch),
            equal=rate(noted["equal"][0][WARM_UP_FIXED : runs["equal"] + 1], batch),
            auto=rate(auto[0][WARM_UP:], batch),
            shares=mode(step.shares for step in counted),
            trials=auto[0][0].balancing,
            exchange=exchange,
            balancing=balancing,
            computing=tuple(
                median(seconds) / length
                for seconds in zip(*(step.computing for step in counted), strict=True)
            ),
            others=max(others),
        )

    def change(self, ratio: int, alone: tuple[float, float]) -> Change:
        """Slow rank 1 in the midst of a run, and let it recover.

        Args:
            ratio: See `Measurement`.
            alone: Samples a second of each rank alone, slowed so.
        """
        with others_on(self.cores) as others, self._training("auto", 1) as noted:
            slowed = wait_for(noted, BEFORE)
            with self._slowed(ratio):
                recovered = wait_for(noted, slowed + DURING)
            end = wait_for(noted, recovered + AFTER)
            steps = noted[0].steps[1 : end + 1]
        return Change(
            ratio=ratio,
            slowed=slowed,
            recovered=recovered,
            shares=tuple(step.shares[1] for step in steps),
            fitting=self.recipe.optimization.batch * alone[1] / sum(alone),
            others=others[0],
        )

    def _run(self, balance: Balance | None, ratio: int, steps: int) -> list[list[Step]]:
        """So many steps of both ranks, with rank 1 slowed."""
        with self._training(balance, ratio) as noted:
            wait_for(noted, steps)
            return [rank.steps for rank in noted]

    @contextmanager
    def _slowed(self, ratio: int) -> Iterator[None]:
        with ExitStack() as competing:
            for _ in range(ratio - 1):
                competing.enter_context(competitor(self.cores[1]))
            yield

    @contextmanager
    def _training(self, balance: Balance | None, ratio: int) -> Iterator[list[RunningRank]]:
        """Both ranks train: together, or each for itself where `balance` is None.

        Rank 1 is slowed from when it has read its products, before the speed trials.
        """
        recipe = self.recipe.model_dump(mode="json")
        recipe["optimization"]["steps"] = recipe["validate_every"] = NEVER
        recipe["distribution"]["balance"] = balance or "equal"
        port = free_port()
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch, ExitStack() as running:
            ranks = []
            for rank, core in enumerate(self.cores):
                place = {
                    "RANK": str(rank),
                    "WORLD_SIZE": "2",
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
                folder = Path(scratch) / (f"run-{rank}" if balance is None else "run")
                ranks.append(
                    RunningRank(
                        rank,
                        Work(
                            recipe,
                            self.precision,
                            str(folder),
                            notes=f"{scratch}/notes-{rank}",
                            ready=f"{scratch}/ready-{rank}",
                            begin=f"{scratch}/begin",
                        ),
                        core,
                        {} if balance is None else place,
                        Path(scratch),
                    )
                )
                running.enter_context(ranks[-1])
            wait_until(ranks, lambda rank: rank.ready.exists())
            with self._slowed(ratio):
                (Path(scratch) / "begin").touch()
                yield ranks
            for started in ranks:
                started.process.terminate()
            for started in ranks:
                with suppress(subprocess.TimeoutExpired):  # then it is ended
                    started.process.wait(PATIENCE)


class RunningRank:
    """A process that trains on one core.

    Args:
        rank: Its number.
        todo: What it is to do.
        core: Which.
        place: Variables of a launcher; none for a run of its own.
        scratch: Folder for what passes between us.
    """

    def __init__(
        self, rank: int, todo: Work, core: int, place: Mapping[str, str], scratch: Path
    ) -> None:
        self.rank, self.notes, self.ready = rank, Path(todo.notes), Path(todo.ready)
        path, self.said = scratch / f"work-{rank}.json", scratch / f"said-{rank}"
        path.write_text(json.dumps(asdict(todo)), encoding="utf-8")
        with self.said.open("w") as said:
            self.process = pinned(
                [sys.executable, "-m", "decametre.bench.balance_rank", str(path)],
                core,
                {**os.environ, "OMP_NUM_THREADS": "1", **place},
                said.fileno(),
            )

    def __enter__(self) -> RunningRank:
        return self

    def __exit__(self, *error: object) -> None:
        end(self.process)

    @property
    def steps(self) -> list[Step]:
        """What it noted so far."""
        return read_steps(self.notes)

    @property
    def done(self) -> int:
        """Steps so far."""
        lines = self.notes.read_bytes().count(b"\n") if self.notes.exists() else 0
        return max(0, lines - 1)

    def check(self) -> None:
        """See that it still trains.

        Raises:
            TrainingError: It ended.
        """
        if self.process.poll() is None:
            return
        said = self.said.read_text(encoding="utf-8", errors="replace")
        mistakes = re.findall(r"^decametre: error: (.*)$", said, flags=re.MULTILINE)
        if not mistakes:
            log.error("%s", said)
        raise TrainingError(mistakes[0] if mistakes else f"rank {self.rank} failed; see above why")


def wait_until(ranks: Sequence[RunningRank], true: Callable[[RunningRank], bool]) -> None:
    """Wait until something is true of all ranks.

    Raises:
        TrainingError: A rank ended.
    """
    while not all(map(true, ranks)):
        for rank in ranks:
            rank.check()
        time.sleep(POLL)


def wait_for(ranks: Sequence[RunningRank], steps: int) -> int:
    """Wait until all ranks have done so many steps.

    Returns:
        How many rank 0 has done by then.

    Raises:
        TrainingError: A rank ended.
    """
    wait_until(ranks, lambda rank: rank.done >= steps)
    return ranks[0].done


@contextmanager
def competitor(core: int) -> Iterator[None]:
    """A process that does nothing but compute on a core, as long as we live."""
    code = f"import os\nwhile os.getppid() == {os.getpid()}:\n    for _ in range(10**5): pass"
    process = pinned([sys.executable, "-S", "-c", code], core, os.environ, subprocess.DEVNULL)
    try:
        yield
    finally:
        end(process)


def pinned(
    command: Sequence[str], core: int, variables: Mapping[str, str], errors: int
) -> subprocess.Popen[bytes]:
    """Start a process on one core. Its threads come later, and inherit that."""
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=errors)
    os.sched_setaffinity(process.pid, {core})
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that may have ended."""
    process.kill()
    process.wait()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def rate(steps: Sequence[Step], batch: int) -> float:
    """Samples a second from the end of the first of some steps to that of the last."""
    return (len(steps) - 1) * batch / (steps[-1].ended - steps[0].ended)


def rates_at_once(ranks: Sequence[Sequence[Step]], batch: int) -> tuple[float, float]:
    """Samples a second of two ranks that train for themselves, while both do.

    Args:
        ranks: The steps of each, from 0 on.
        batch: Samples of a step.
    """
    begun = max(steps[WARM_UP_FIXED].ended for steps in ranks)
    ended = min(steps[-1].ended for steps in ranks)
    fast, slow = (
        rate([step for step in steps if begun <= step.ended <= ended], batch) for steps in ranks
    )
    return fast, slow


def costs(ranks: Sequence[Sequence[Step]]) -> tuple[float, float]:
    """What re-balancing costs, as parts of the time of training.

    Args:
        ranks: The steps of each, from 0 on.

    Returns:
        The exchange before each step, which sums up losses too: its time on the rank that is done
        with it soonest, since the others wait in it for that one. And the balancing: the longest
        reckoning of all ranks, and where shares change, what the slowest rank needs more than in
        its median step until its samples are there.
    """
    first, *_ = ranks
    total = first[-1].ended - first[0].ended
    usual = [median(step.drawing for step in steps[1:]) for steps in ranks]
    exchange, balancing = 0.0, 0.0
    for before, *of_step in zip(first, *(steps[1:] for steps in ranks), strict=False):
        exchange += min(step.exchange for step in of_step)
        balancing += max(step.balancing for step in of_step)
        if of_step[0].shares != before.shares:
            more = (step.drawing - least for step, least in zip(of_step, usual, strict=True))
            balancing += max(0.0, *more)
    return exchange / total, balancing / total


@contextmanager
def others_on(cores: Sequence[int]) -> Iterator[list[float]]:
    """Find out what part of some cores' time programs take that we did not start.

    Yields:
        A list, into which that part is put at the end. What we started has ended by then.
    """
    found: list[float] = []
    begun, busy, own = time.perf_counter(), busy_seconds(cores), own_seconds()
    yield found
    elapsed = time.perf_counter() - begun
    others = busy_seconds(cores) - busy - (own_seconds() - own)
    found.append(max(0.0, others / elapsed / len(cores)))


def busy_seconds(cores: Sequence[int]) -> float:
    """Seconds that cores computed for anybody or were not ours (`stolen`), since the start."""
    text = Path("/proc/stat").read_text(encoding="ascii")
    ticks = 0
    for core in cores:
        (line,) = re.findall(rf"^cpu{core} (.*)$", text, flags=re.MULTILINE)
        user, nice, system, _, _, interrupts, soft, stolen = map(int, line.split()[:8])
        ticks += user + nice + system + interrupts + soft + stolen
    return ticks / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Seconds that this process and its ended children computed."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def choose_cores(available: Sequence[int]) -> tuple[int, int]:
    """The cores of rank 0 and rank 1.

    Raises:
        DeviceError: There are no two.
    """
    if len(available) < 2:
        raise DeviceError(
            f"this process may use {len(available)} processor core, and two ranks need two; give "
            "it another one"
        )
    fast, slow, *_ = sorted(available)
    return fast, slow


def check_measurable(recipe: Recipe) -> None:
    """See that two ranks can share the recipe's batch, and that no launcher started us.

    Raises:
        TrainingError: Otherwise.
    """
    unit = recipe.optimization.micro_batch or 1
    if recipe.optimization.batch < 2 * unit:
        raise TrainingError(
            f"optimization.batch {recipe.optimization.batch} is one sample or micro-batch, which "
            "two ranks cannot share; give more"
        )
    if read_rank_info().address:
        raise TrainingError(
            "bench balance starts its two ranks itself; run it without torchrun or srun"
        )


def hardware(precision: str) -> str:
    """What is measured on, in words."""
    return f"{processor_name()}, 1 thread a rank, {precision}, torch {torch.__version__}"


def run(
    recipe: Recipe, ratios: Sequence[int], steps: int, repeat: int, precision: str, scratch: Path
) -> tuple[list[Measurement], Change | None]:
    """Take all measurements, ratios in turn.

    Args:
        recipe: With products to train and validate on.
        ratios: See `Measurement.ratio`. By the greatest, if above 1, rank 1 is then slowed in the
            midst of a run, too.
        steps: How many count in each shared run.
        repeat: How often each measurement is taken.
        precision: See `inference.device.choose_precision`.
        scratch: Folder for what is thrown away.

    Raises:
        DecametreError: As in training; there are no two cores; a launcher started us.
    """
    check_measurable(recipe)
    bench = Bench(recipe, precision, choose_cores([*os.sched_getaffinity(0)]), scratch)
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
            if found.others > BUSY:
                log.warning(
                    "other programs took %.0f %% of the two cores: measure again without them",
                    100 * found.others,
                )
    slowest = max(measurements, key=lambda found: found.ratio)
    if slowest.ratio == 1:
        return measurements, None
    return measurements, bench.change(slowest.ratio, slowest.alone)
