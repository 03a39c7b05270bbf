"""How much faster is training on more ranks? Weak and strong scaling, measured.

Weak scaling: each rank takes the recipe's batch. Strong scaling: the ranks share it. The steps are
those of `training/loop.py`, including the preparation of samples and all communication. Each
measurement is a line of a CSV file, to which later jobs append measurements with other numbers of
ranks on the same hardware.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch

from decametre.bench.hardware import describe_hardware
from decametre.bench.report_files import output_errors
from decametre.bench.train import synchronize
from decametre.device import choose_precision, precision_name
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
"""Steps before those that are timed: memory is allocated, kernels and DDP's buckets are chosen."""


@dataclass(frozen=True)
class ScalingMeasurement:
    """The time of some steps of training.

    Attributes:
        recipe: Name of the recipe.
        ranks: Number of ranks.
        batch: Samples of a step, over all ranks.
        rank_batch: The recipe's batch: samples of each rank in weak scaling, and of all ranks
            together in strong scaling. A single rank is also measured with less, for the model.
        steps: Number of timed steps.
        seconds: Time of all of them.
        gradient_bytes: Size of the gradient in float32.
        hardware: Hardware, threads of each rank and precision, as text.
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


def read_measurements(folder: Path) -> list[ScalingMeasurement]:
    """Read the measurements in a folder; empty if there is no file.

    Raises:
        OutputError: The file has another format.
    """
    path = folder / MEASURED
    if not path.exists():
        return []
    kinds = {"int": int, "float": float, "str": str}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                ScalingMeasurement(
                    **{f.name: kinds[str(f.type)](row[f.name]) for f in fields(ScalingMeasurement)}
                )
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise OutputError(f"{path}: not a file of scaling measurements ({error})") from error


def append_measurements(folder: Path, new: Iterable[ScalingMeasurement]) -> None:
    """Append measurements to the file in a folder, which is created.

    Raises:
        OutputError: The file cannot be written.
    """
    with output_errors(folder):
        folder.mkdir(exist_ok=True)
        with (folder / MEASURED).open("a", newline="", encoding="utf-8") as file:
            names = [f.name for f in fields(ScalingMeasurement)]
            writer = csv.DictWriter(file, names, lineterminator="\n")
            if not file.tell():
                writer.writeheader()
            writer.writerows(map(asdict, new))


def check_comparable(folder: Path, recipes: Iterable[AnyRecipe], ranks: int, hardware: str) -> None:
    """Check that new measurements can be compared with those in the folder.

    Raises:
        OutputError: Those in the folder were taken on other hardware.
        TrainingError: A recipe was not measured on one rank before.
    """
    before = read_measurements(folder)
    for other in {measured.hardware for measured in before} - {hardware}:
        raise OutputError(
            f"{folder / MEASURED} was measured on {other}, but this is {hardware}; use another "
            "--out, or the same threads and precision"
        )
    alone = {(measured.recipe, measured.rank_batch) for measured in before if measured.ranks == 1}
    for recipe in recipes:
        if ranks > 1 and (recipe.name, recipe.optimization.batch) not in alone:
            raise TrainingError(
                f"{folder} has no measurement of {recipe.name} with batches of "
                f"{recipe.optimization.batch} on one rank to compare with; take that first, with "
                "the same --out"
            )


def measure_in_turn(ranks: Sequence[int], repeat: int, folder: Path, words: Sequence[str]) -> None:
    """Measure with new processes on this machine; the numbers of ranks alternate.

    Each rank has `OMP_NUM_THREADS` threads; by default the cores divided by the largest number of
    ranks.

    Args:
        ranks: Numbers of ranks, rising from 1.
        repeat: How often each is measured.
        folder: Folder of the file to which they append.
        words: Their command line after `decametre bench scaling`.

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
    """Measure with new processes on this machine, started by torchrun.

    Args:
        count: Number of processes.
        words: Their command line after `decametre bench`.

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
            _, err = process.communicate()
        except BaseException:
            process.terminate()  # torchrun then ends its ranks
            raise
    if process.returncode:
        messages = re.findall(r"^decametre: error: (.*)$", err, flags=re.MULTILINE)
        if not messages:
            log.error("%s", err)
        raise TrainingError(messages[0] if messages else f"{count} ranks failed; see above")


def measure_here(
    recipes: Sequence[AnyRecipe],
    folder: Path,
    info: RankInfo,
    device: str,
    precision: str,
    steps: int,
    repeat: int,
) -> None:
    """Measure with the ranks that a launcher started, and append to the folder's file.

    Args:
        recipes: With products for training and validation.
        folder: Folder of the file; only rank 0 uses it.
        info: Position of this process.
        device: See `ranks.join_ranks`.
        precision: See `decametre.device.choose_precision`.
        steps: Timed steps of each measurement.
        repeat: How often each measurement is taken.

    Raises:
        DecametreError: As in training, or see `check_comparable`.
    """
    with join_ranks(info, device) as ranks:
        dtype = ranks.broadcast(choose_precision(precision, ranks.device))
        mine = describe_hardware(ranks.device, precision_name(dtype), torch.get_num_threads())
        hardware = " + ".join(sorted(set(ranks.gather(mine))))
        if ranks.is_first:
            check_comparable(folder, recipes, ranks.size, hardware)
            append_measurements(folder, [])  # fails now if the folder cannot be written
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
) -> list[ScalingMeasurement]:
    """Time the steps of a recipe. Batch sizes alternate, so that a busy moment affects all."""
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
                ranks.sum([0.0])  # all ranks begin together
                begun = time.perf_counter()
        synchronize(ranks.device)
        ranks.sum([0.0])  # wait for the last rank
        return time.perf_counter() - begun

    return [
        ScalingMeasurement(
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
    """Global batches to measure: weak and strong scaling; for one rank also smaller batches."""
    if ranks == 1:
        return [size for size in trial_sizes(batch, unit) if size <= batch]
    return [ranks * batch, *([batch] if batch >= ranks * unit else [])]
