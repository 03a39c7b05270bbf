"""Count how mutated inputs end: accepted, refused in one line, or a fault."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fuzzing.targets import TARGETS

CPU_SECONDS = 5.0
"""Longest CPU time of an input."""

MEMORY = 1 << 30
"""Most memory in bytes that reading an input may add."""

HANG_SECONDS = 60.0
"""Time without a sign of life after which a process is killed; the machine may be busy."""


@dataclass
class Score:
    """What came of a target's inputs.

    Attributes:
        name: The target.
        outcomes: Inputs by outcome: `accepted`, `refused`, or a fault: `error` (another exception),
            `crash` (the process died), `hang`, `slow` (over 5 s of CPU), `memory` (over 1 GB).
        seconds: Longest CPU time of an input.
        memory: Most memory of an input, in bytes.
        faults: Number of the input, outcome and message of each fault.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    memory: int = 0
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        """Count one input."""
        outcome = record["outcome"]
        if outcome in ("accepted", "refused"):
            if record["seconds"] > CPU_SECONDS:
                outcome = "slow"
            elif record["memory"] > MEMORY:
                outcome = "memory"
        self.seconds = max(self.seconds, record.get("seconds", 0.0))
        self.memory = max(self.memory, record.get("memory", 0))
        self.outcomes[outcome] += 1
        if outcome not in ("accepted", "refused"):
            self.faults.append((record["number"], outcome, record["message"]))


def fuzz(name: str, count: int, seed: int = 0, first: int = 0) -> Score:
    """Read mutated inputs of a target in a child process, which is replaced if it dies or hangs."""
    score, number, stop = Score(name), first, first + count
    while number < stop:
        started, ended = _run_child(score, name, seed, number, stop)
        if started is None:  # it could not even start
            raise RuntimeError(f"{name}: {ended}")
        if started < stop and ended is not None:
            outcome, message = ended
            score.add({"number": started, "outcome": outcome, "message": message})
        number = started + 1
    return score


def _run_child(score: Score, name: str, seed: int, first: int, stop: int) -> tuple[int | None, Any]:
    """Run one child; returns the last input it started, and how it failed there, if it did."""
    command = [sys.executable, "-X", "faulthandler", "-m", "benchmarks.fuzzing.child", name]
    command += [f"--seed={seed}", f"--first={first}", f"--stop={stop}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1"}
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []

    def pump() -> None:
        for line in child.stdout or ():
            lines.put(line)
        lines.put(None)

    def keep_errors() -> None:
        for line in child.stderr or ():
            errors.append(line)
            del errors[:-30]

    threads = [threading.Thread(target=each, daemon=True) for each in (pump, keep_errors)]
    for thread in threads:
        thread.start()
    started: int | None = None
    running = False
    while True:
        try:
            line = lines.get(timeout=HANG_SECONDS)
        except queue.Empty:
            child.kill()
            child.wait()
            return started, ("hang", f"no answer in {HANG_SECONDS:.0f} s\n{''.join(errors)}")
        if line is None:
            break
        record = json.loads(line)
        if "start" in record:
            started, running = record["start"], True
        else:
            running = False
            score.add(record)
    child.wait()
    threads[1].join()
    if started is None or running:
        return started, ("crash", f"exit status {child.returncode}\n{''.join(errors)}")
    return started, None


def table(scores: list[Score]) -> str:
    """The scores as a table in Markdown."""
    rows = [
        "| target | inputs | accepted | refused | faults | CPU s, longest | MB, most |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for score in scores:
        faults = "; ".join(
            f"{count} {outcome}"
            for outcome, count in score.outcomes.items()
            if outcome not in ("accepted", "refused")
        )
        rows.append(
            f"| {score.name}: {TARGETS[score.name].what} | {score.outcomes.total():,} | "
            f"{score.outcomes['accepted']:,} | {score.outcomes['refused']:,} | {faults or 0} | "
            f"{score.seconds:.1f} | {score.memory / 1e6:.0f} |"
        )
    return "\n".join(rows)
