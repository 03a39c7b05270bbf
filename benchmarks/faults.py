"""Runs whose ranks are killed and stopped at random moments: are they right, what is lost?"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import click
import psutil
import torch

from benchmarks.fault_rank import VALIDATE_EVERY
from benchmarks.fault_task import Points, fault_recipe
from decametre.progress import silent
from decametre.training.checkpoint import read_checkpoint
from decametre.training.loop import fit

TOLERANCE = 1e-12
"""Largest difference to the weights of a single process, in float64."""

FAULT_SECONDS = (0.2, 3.0)
"""Least and largest time between the recovery from a fault and the next fault."""

RECENT_SECONDS = 1.0
"""A rank that ended a step within this time takes part; faults wait until at least two do."""

LIMIT_SECONDS = 300.0
"""A run that takes longer counts as hanging."""


@dataclass(frozen=True)
class Fault:
    """A signal that was sent to a rank.

    Attributes:
        name: `SIGKILL` or `SIGSTOP`.
        rank: Launch rank.
        at: Time of the signal.
    """

    name: str
    rank: int
    at: float


@dataclass(frozen=True)
class RunResult:
    """The end of a run.

    Attributes:
        ranks: Number of ranks.
        faults: All faults.
        lost: Seconds that each fault cost.
        statuses: Exit statuses of the ranks; None for one that hung.
        difference: Largest difference to the weights and statistics of a single process.
    """

    ranks: int
    faults: tuple[Fault, ...]
    lost: tuple[float, ...]
    statuses: tuple[int | None, ...]
    difference: float

    @property
    def is_right(self) -> bool:
        """Whether all ranks ended well, with the right weights."""
        return not any(self.statuses) and self.difference <= TOLERANCE


def measure(
    folder: Path, runs: int, steps: int, faults: int, on_failure: str, seed: int
) -> list[RunResult]:
    """Run the task repeatedly with 2, 3 and 4 ranks in turn.

    Args:
        folder: For the files of the runs; created.
        runs: Number of runs.
        steps: Steps of each run.
        faults: Faults in each run.
        on_failure: `continue` or `restart`.
        seed: Seed of the faults.
    """
    folder.mkdir(parents=True)
    expected = folder / "expected"
    expected.mkdir()
    recipe = fault_recipe(VALIDATE_EVERY)
    fit(Points(steps, recipe, 0.0), recipe, expected, silent)
    dice = random.Random(seed)
    results = []
    for run in range(runs):
        results.append(
            disturbed_run(
                folder / f"run-{run}", 2 + run % 3, steps, faults, on_failure, dice, expected
            )
        )
        click.echo(describe(results[-1]), err=True)
    return results


def describe(result: RunResult) -> str:
    """A run as a line of text."""
    faults = ", ".join(
        f"{fault.name} rank {fault.rank}: {lost:.1f} s"
        for fault, lost in zip(result.faults, result.lost, strict=True)
    )
    end = "right" if result.is_right else f"WRONG, statuses {result.statuses}"
    return f"{result.ranks} ranks; {faults}; difference {result.difference:.1e}: {end}"


def disturbed_run(
    folder: Path,
    size: int,
    steps: int,
    count: int,
    on_failure: str,
    dice: random.Random,
    expected: Path,
) -> RunResult:
    """One run, with faults at random moments."""
    (folder / "steps").mkdir(parents=True)
    faults: list[Fault] = []
    with running(folder, size, steps, on_failure) as supervisors:
        deadline = time.monotonic() + LIMIT_SECONDS
        furthest = 0
        while any(one.poll() is None for one in supervisors) and time.monotonic() < deadline:
            if len(faults) < count and max(step_times(folder), default=0) > furthest:
                time.sleep(dice.uniform(*FAULT_SECONDS))
                active = active_ranks(folder)
                if len(active) > 1:
                    rank, name = dice.choice(active), dice.choice(["SIGKILL", "SIGSTOP"])
                    for child in psutil.Process(supervisors[rank].pid).children():
                        furthest = max(step_times(folder)) + 2
                        faults.append(Fault(name, rank, time.time()))
                        child.send_signal(getattr(signal, name))
            time.sleep(0.05)
        statuses = tuple(one.poll() for one in supervisors)
    lost = lost_seconds(step_times(folder), [fault.at for fault in faults])
    return RunResult(size, tuple(faults), lost, statuses, difference(folder, expected))


@contextmanager
def running(
    folder: Path, size: int, steps: int, on_failure: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The supervisors of all ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.fault_rank", str(folder), str(steps), on_failure]
    started = []
    with (folder / "messages.txt").open("wb") as messages:
        for rank in range(size):
            position = {"RANK": str(rank), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            variables = os.environ | position | address | {"CUDA_VISIBLE_DEVICES": ""}
            variables["PYTHONFAULTHANDLER"] = "1"
            started.append(subprocess.Popen(command, env=variables, stderr=messages))
        try:
            yield started
        finally:
            for one in started:
                one.kill()
                one.wait()


def active_ranks(folder: Path) -> list[int]:
    """The launch ranks that ended a step a moment ago."""
    now = time.time()
    recent = [
        path
        for path in (folder / "steps").iterdir()
        if now - path.stat().st_mtime < RECENT_SECONDS and path.stat().st_size
    ]
    return sorted({int(path.stem.partition("-")[0]) for path in recent})


def step_times(folder: Path) -> dict[int, float]:
    """When each step was ended for the first time, by the step's number."""
    times: dict[int, float] = {}
    for path in (folder / "steps").iterdir():
        for line in path.read_text().splitlines():
            at, _, step = line.partition(" ")
            if step.isdigit():  # a killed rank may leave half a line
                times[int(step)] = min(float(at), times.get(int(step), float("inf")))
    return dict(sorted(times.items()))


def lost_seconds(times: dict[int, float], faults: Sequence[float]) -> tuple[float, ...]:
    """The time that each fault cost: what all longer steps up to the next fault took too long.

    This includes the steps that are done again, and the return of a rank.

    Args:
        times: See `step_times`.
        faults: When the faults happened.
    """
    ends = list(times.values())
    gaps = [(begin, end - begin) for begin, end in pairwise(ends)]
    usual = median(length for _, length in gaps)
    lost = []
    for at, until in zip(faults, [*faults[1:], float("inf")], strict=True):
        of_fault = [
            length - usual
            for begin, length in gaps
            if at < begin + length <= until and length > 5 * usual
        ]
        lost.append(sum(of_fault))
    return tuple(lost)


def difference(folder: Path, expected: Path) -> float:
    """The largest difference between the last weights of two runs; infinite without weights."""
    path = folder / "last.safetensors"
    if not path.is_file():
        return float("inf")
    found, right = read_checkpoint(path), read_checkpoint(expected / "last.safetensors")
    if found.step != right.step:
        return float("inf")
    return max(
        float((tensor.double() - right.tensors[name].double()).abs().max())
        for name, tensor in found.tensors.items()
        if isinstance(tensor, torch.Tensor)
    )


def table(results: Sequence[RunResult]) -> str:
    """Time lost per fault, as a Markdown table."""
    rows = ["| ranks | fault | faults | median | worst |", "|---|---|---|---|---|"]
    for size in sorted({result.ranks for result in results}):
        for name in ("SIGKILL", "SIGSTOP"):
            lost = [
                seconds
                for result in results
                if result.ranks == size
                for fault, seconds in zip(result.faults, result.lost, strict=True)
                if fault.name == name
            ]
            if lost:
                row = f"{size} | {name} | {len(lost)} | {median(lost):.1f} s | {max(lost):.1f} s"
                rows.append(f"| {row} |")
    right = sum(result.is_right for result in results)
    worst = max(result.difference for result in results)
    faults = sum(len(result.faults) for result in results)
    return "\n".join(
        [
            *rows,
            "",
            f"{faults} faults; {right} of {len(results)} runs right; difference up to {worst:.1e}",
        ]
    )
