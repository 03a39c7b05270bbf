"""How much faster is training on more ranks? Weak and strong scaling, measured.

Weak: every rank takes the recipe's batch. Strong: the ranks share it. Steps are those of
`training/loop.py`, with drawing patches and all exchange. Every measurement is a line of a CSV
file, to which the next job appends: it may have another number of ranks, but no other hardware.
"""

from __future__ import annotations

import csv
import logging
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch

from decametre.bench.train import synchronize
from decametre.device import choose_devices, choose_precision
from decametre.errors import OutputError, TrainingError
from decametre.recipes.reading import AnyRecipe
from decametre.recipes.tasks import build_task
from decametre.training.batch_sharing import trial_sizes
from decametre.training.gradient import Gradient
from decametre.training.launcher import RankInfo
from decametre.training.load_balancing import equal_shares
from decametre.training.loop import initial_state, train_step
from decametre.training.order import micro_batches
from decametre.training.ranks import Ranks, join_ranks

log = logging.getLogger(__name__)

MEASURED = "measured.csv"
WARM_UP = 3
"""Steps before those that are timed: memory, the library's choices and DDP's buckets settle."""


@dataclass(frozen=True)
class Measurement:
    """Some steps of training, timed.

    Attributes:
        recipe: Its name.
        ranks: How many shared a step.
        batch: Samples of a step, over all ranks.
        rank_batch: The recipe's batch: what each rank takes in weak scaling, and all of them
            together in strong scaling. One rank also takes less, for the model.
        steps: How many were timed.
        seconds: What they took together.
        gradient_bytes: Of all weights that are trained, in float32.
        hardware: In words, with the threads of each rank and the precision.
    """

    recipe: str
    ranks: int
    batch: int
    rank_batch: int
    steps: int
    seconds: float
    gradient_bytes: int
    hardware: str

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.batch * self.steps / self.seconds


def read_measurements(folder: Path) -> list[Measurement]:
    """What was measured so far; nothing where there is no file.

    Raises:
        OutputError: The file is none of ours.
    """
    path = folder / MEASURED
    if not path.exists():
        return []
    kinds = {"int": int, "float": float, "str": str}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Measurement(
                    **{f.name: kinds[str(f.type)](row[f.name]) for f in fields(Measurement)}
                )
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise OutputError(f"{path}: holds no measurements of this bench ({error})") from error


def append_measurements(folder: Path, new: Iterable[Measurement]) -> None:
    """Add lines to the file.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        with (folder / MEASURED).open("a", newline="", encoding="utf-8") as file:
            names = [f.name for f in fields(Measurement)]
            writer = csv.DictWriter(file, names, lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerows(map(asdict, new))
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror or error})") from error


def check_comparable(folder: Path, recipes: Iterable[AnyRecipe], ranks: int, hardware: str) -> None:
    """See that what will be measured has something to be compared with.

    Raises:
        OutputError: What the folder holds was measured on other hardware.
        TrainingError: One rank was not measured.
    """
    before = read_measurements(folder)
    for other in {measured.hardware for measured in before} - {hardware}:
        raise OutputError(
            f"{folder / MEASURED} was measured on {other}, and this is {hardware}; give another "
            "--out, or the same threads and precision"
        )
    alone = {(measured.recipe, measured.rank_batch) for measured in before if measured.ranks == 1}
    for recipe in recipes:
        if ranks > 1 and (recipe.name, recipe.optimization.batch) not in alone:
            raise TrainingError(
                f"{folder} has no {recipe.name} with batches of {recipe.optimization.batch} on one "
                "rank, to compare with; measure that first, with the same --out"
            )


def measure_in_turn(ranks: Sequence[int], repeat: int, folder: Path, words: Sequence[str]) -> None:
    """Measure with processes that are started here, for each number of ranks in turn.

    Every rank has as many threads as there are cores for where most ranks run, or as many as
    `OMP_NUM_THREADS` says.

    Args:
        ranks: Numbers of them, rising from 1.
        repeat: How often.
        folder: Where they append to the file.
        words: Of their command line, behind `decametre bench scaling`.

    Raises:
        TrainingError: A rank failed.
    """
    cores = len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // max(ranks))))
    for turn in range(repeat):
        for count in ranks:
            before = len(read_measurements(folder))
            start_ranks(count, ["scaling", *words, "--out", str(folder)])
            for found in read_measurements(folder)[before:]:
                log.info(
                    "%s, ranks: %d, batch %d: %.3g samples/s (%d of %d)",
                    found.recipe,
                    found.ranks,
                    found.batch,
                    found.rate,
                    turn + 1,
                    repeat,
                )


def start_ranks(count: int, words: Iterable[str]) -> None:
    """Measure with so many new processes on this machine, by torchrun.

    Args:
        count: How many.
        words: Of the command line, behind `decametre bench`.

    Raises:
        TrainingError: A rank failed.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr=127.0.0.1", f"--nproc-per-node={count}"]
    command += ["-m", "decametre", "bench", *words]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, said = process.communicate()
        except BaseException:
            process.terminate()  # torchrun ends its ranks
            raise
    if process.returncode:
        mistakes = re.findall(r"^decametre: error: (.*)$", said, flags=re.MULTILINE)
        if not mistakes:
            log.error("%s", said)
        raise TrainingError(mistakes[0] if mistakes else f"{count} ranks failed; see above why")


def measure_here(
    recipes: Sequence[AnyRecipe],
    folder: Path,
    place: RankInfo,
    device: str,
    precision: str,
    steps: int,
    repeat: int,
) -> None:
    """Measure with the ranks that the launcher started, and append to the folder's file.

    Args:
        recipes: With products to train and validate on.
        folder: Of the file; rank 0 alone looks there.
        place: Of this process.
        device: See `ranks.joined`.
        precision: See `inference.device.choose_precision`.
        steps: How many each measurement takes.
        repeat: How often each is taken.

    Raises:
        DecametreError: As in training, or see `check_comparable`.
    """
    with join_ranks(place, device) as ranks:
        dtype = ranks.broadcast(choose_precision(precision, ranks.device))
        hardware = " + ".join(sorted(set(ranks.gather(hardware_of(ranks.device, dtype)))))
        if ranks.is_first:
            check_comparable(folder, recipes, ranks.size, hardware)
            append_measurements(folder, [])  # a folder that cannot be written is known now
        for recipe in recipes:
            found = measure(recipe, ranks, dtype, steps, repeat, hardware)
            if ranks.is_first:
                append_measurements(folder, found)


def measure(
    recipe: AnyRecipe,
    ranks: Ranks,
    precision: torch.dtype,
    steps: int,
    repeat: int,
    hardware: str,
) -> list[Measurement]:
    """Time a recipe's steps; batches take turns, so that a busy moment does not meet one alone."""
    optimization = recipe.optimization
    task = build_task(recipe, None, ranks.device, precision)
    state = initial_state(task.network, optimization)
    gradient = Gradient(task, state.network, ranks, recipe.distribution.compression)
    weights = sum(w.numel() for w in task.network.parameters() if w.requires_grad)

    def seconds(batch: int) -> float:
        order = replace(task.order, batch=batch)
        shares = equal_shares(ranks.size, batch, optimization.micro_batch or 1)
        batches = task.batches(
            0,
            WARM_UP + steps,
            lambda step: micro_batches(
                order.samples(step), shares, ranks.rank, optimization.micro_batch
            ),
        )
        begun = 0.0
        for step, mine in enumerate(batches):
            counted = sum(task.count(part) for part in mine)
            exchange = ranks.start_sum([counted, *ranks.at_own_index(gradient.timer.read())])
            train_step(state, task.steps, optimization, gradient, mine, exchange.first)
            if step == WARM_UP - 1:
                synchronize(ranks.device)
                ranks.sum([0.0])  # all begin together
                begun = time.perf_counter()
        synchronize(ranks.device)
        ranks.sum([0.0])  # and end with the last
        return time.perf_counter() - begun

    return [
        Measurement(
            recipe=recipe.name,
            ranks=ranks.size,
            batch=batch,
            rank_batch=optimization.batch,
            steps=steps,
            seconds=seconds(batch),
            gradient_bytes=4 * weights,
            hardware=hardware,
        )
        for _ in range(repeat)
        for batch in batches_of(optimization.batch, ranks.size, optimization.micro_batch or 1)
    ]


def batches_of(batch: int, ranks: int, unit: int = 1) -> list[int]:
    """What to measure: the weak and the strong global batch; of one rank also parts of its own."""
    if ranks == 1:
        return [size for size in trial_sizes(batch, unit) if size <= batch]
    return [ranks * batch, *([batch] if batch >= ranks * unit else [])]


def hardware_of(device: torch.device, precision: torch.dtype) -> str:
    """This rank's hardware, in words."""
    gpu = [torch.cuda.get_device_name(device)] if device.type == "cuda" else []
    threads = torch.get_num_threads()
    words = [
        *gpu,
        processor_name(),
        f"{threads} thread{'s' if threads > 1 else ''} a rank",
        str(precision).removeprefix("torch."),
        f"torch {torch.__version__}",
    ]
    return ", ".join(words)


def resolve_precision(precision: str, device: str) -> str:
    """The precision that all processes will take: `auto` is found by timing, once for all."""
    return str(choose_precision(precision, choose_devices(device)[0])).removeprefix("torch.")


def processor_name() -> str:
    """The processor's model, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
