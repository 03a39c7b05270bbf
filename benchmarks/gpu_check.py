"""All GPU measurements in one run of limited time, each written as soon as it is known.

A run on borrowed hardware may end at any time. So every part is a separate process with a time
limit, parts start in the order of their value, a part that would not fit in the remaining time is
skipped, and the report is written again after each part.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from decametre.bench.report_files import markdown_table

SECONDS = 540.0
"""Time of the complete check."""

RECIPES = ("native_2x", "s2x", "s6x", "dsen2_2x", "native_6x")
"""The recipes that are timed, with their own batch sizes."""

KEPT_LINES = 20
"""Last lines of a part's output that the report shows if it fails."""

SMI = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")
"""Prints utilization in percent and used memory in MiB, one line per GPU."""


@dataclass(frozen=True)
class Part:
    """One measurement.

    Attributes:
        name: Its name in the report.
        command: Arguments of Python. The last line of its output is the result; JSON if it can be
            read as such.
        limit: Seconds after which it is ended.
        least: Seconds that it needs; it is skipped if fewer remain.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    least: float = 20.0


@dataclass(frozen=True)
class PartResult:
    """The result of a part.

    Attributes:
        name: Name of the part.
        status: `ok`, `failed`, `timeout` or `skipped`.
        seconds: How long it ran.
        result: What it printed last, or its last lines if it failed.
        gpu: Samples of (utilization in percent, used memory in MiB) of all GPUs.
    """

    name: str
    status: str
    seconds: float = 0.0
    result: Any = None
    gpu: list[tuple[float, float]] = field(default_factory=list)

    @property
    def gpu_summary(self) -> str:
        """Mean utilization, share of samples without work, largest memory."""
        if not self.gpu:
            return ""
        busy = [utilization for utilization, _ in self.gpu]
        idle = sum(utilization < 5 for utilization in busy) / len(busy)
        memory = max(used for _, used in self.gpu)
        return f"{sum(busy) / len(busy):.0f} %, idle {idle:.0%}, {memory / 1024:.1f} GiB"


Runner = Callable[[Part, float], PartResult]
"""Runs a part with a time limit in seconds."""


def parts_for(product: str, cache: Path, size: int, out: Path) -> list[Part]:
    """The parts in the order of their value.

    Args:
        product: The product that is mirrored to a tile, and on which networks are trained.
        cache: Folder of the tile.
        size: Rows and columns of the tile at 10 m.
        out: Folder for runs of training.
    """
    tile = ("--size", str(size), "--cache", str(cache))
    data = ("--train", product, "--validation", product)
    decametre = ("-m", "decametre", "-q")
    group = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
    windows = ("-m", "benchmarks.gpu_windows", product)
    train = ("train", "native_2x", *data, "--precision", "float32", "--set", "validate_every=30")
    train += ("--set", "optimization.steps=30", "--set", "data.windows=1", "--resume", "never")
    ranks = [
        Part("one process", (*decametre, *train, "--out", str(out / "one")), 40),
        Part("one rank", (*group, "1", *decametre, *train, "--out", str(out / "rank")), 40),
        Part("GPU and CPUs", (*group, "3", *decametre, *train, "--out", str(out / "three")), 60),
        Part("equality", ("-m", "benchmarks.gpu_windows", "--compare", str(out)), 20, 5),
    ]
    return [
        Part("environment", ("-m", "decametre", "env", "--json"), 20, 5),
        Part("GPU tests", ("-m", "pytest", "-q", "-m", "gpu", "tests"), 90),
        Part("networks", (*windows, "--networks"), 120),
        Part("sharpen", (*decametre, "bench", "sharpen", product, *tile, "--json"), 150, 60),
        Part("windows in flight", (*windows, "--in-flight", *tile), 60, 30),
        *(
            Part(
                f"train {name}",
                (*decametre, "bench", "train", name, *data, "--steps", "10", "--json"),
                30,
            )
            for name in RECIPES
        ),
        Part("ResNet-50", (*windows, "--classifier"), 30),
        *ranks,
    ]


def check(
    parts: Sequence[Part],
    out: Path,
    run: Runner,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> list[PartResult]:
    """Run the parts in turn, and write `results.jsonl` and `gpu.md` after each.

    Args:
        parts: The parts.
        out: Folder of the report.
        run: Runs one part.
        seconds: Time of the complete check.
        clock: Seconds since some start.
    """
    out.mkdir(parents=True, exist_ok=True)
    end = clock() + seconds
    results: list[PartResult] = []
    log = out / "results.jsonl"
    log.unlink(missing_ok=True)
    for part in parts:
        left = end - clock()
        fits = left >= part.least
        results.append(
            run(part, min(part.limit, left)) if fits else PartResult(part.name, "skipped")
        )
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(results[-1])) + "\n")
        (out / "gpu.md").write_text(report(results), encoding="utf-8")
    return results


def run_part(part: Part, limit: float) -> PartResult:
    """Run a part as a process, and sample the use of the GPU meanwhile."""
    start = time.monotonic()
    with GpuSampler() as sampler:
        process = subprocess.Popen(
            [sys.executable, *part.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, status = process.communicate(timeout=limit)[0], "ok"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the ranks of a group, too
            output, status = process.communicate()[0], "timeout"
        if process.returncode and status == "ok":
            status = "failed"
    seconds = time.monotonic() - start
    return PartResult(part.name, status, seconds, result_of(output, status), sampler.samples)


def result_of(output: str, status: str) -> Any:
    """What a part printed: its JSON document if it is complete, otherwise its last lines."""
    lines = output.strip().splitlines()
    if status == "ok":
        for first in range(len(lines)):
            if lines[first].startswith(("{", "[")):
                try:
                    return json.loads("\n".join(lines[first:]))
                except ValueError:
                    continue
    return "\n".join(lines[-KEPT_LINES:])


class GpuSampler:
    """Samples the use of all GPUs five times a second; no samples without nvidia-smi."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> GpuSampler:
        if shutil.which(SMI[0]):
            self._process = subprocess.Popen(
                [*SMI, "-lms", "200"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process:
            self._process.terminate()
            self.samples = samples_of(self._process.communicate()[0])


def samples_of(text: str) -> list[tuple[float, float]]:
    """Read the output of `SMI`; lines that are no two numbers are skipped."""
    found = []
    for line in text.splitlines():
        try:
            utilization, memory = map(float, line.split(","))
        except ValueError:
            continue
        found.append((utilization, memory))
    return found


def report(results: Sequence[PartResult]) -> str:
    """The report in Markdown: a table of all parts, then the result of each."""
    rows = [(each.name, each.status, f"{each.seconds:.0f} s", each.gpu_summary) for each in results]
    lines = ["# GPU check", "", *markdown_table(("part", "status", "time", "GPU"), rows)]
    for each in results:
        if each.result is not None:
            text = each.result
            if not isinstance(text, str):
                text = json.dumps(text, indent=1)
            lines += ["", f"## {each.name}", "", "```", text, "```"]
    return "\n".join(lines) + "\n"
