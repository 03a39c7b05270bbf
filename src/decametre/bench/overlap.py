"""Do gradients travel while others are still computed? Seen in traces of real training steps.

DDP collects gradients in buckets, and sums each over the ranks as soon as it is full, while
back-propagation goes on with the layers before. What is left at the end, all ranks wait for.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from decametre.bench.overlap_output import TRACE, write_report
from decametre.bench.overlap_report import Report
from decametre.bench.overlap_trace import GRADIENT, Step, steps_of
from decametre.bench.scaling import WARM_UP, hardware_of
from decametre.errors import OutputError, TrainingError
from decametre.inference.device import choose_precision
from decametre.models import normalization
from decametre.training.gradient import Gradient
from decametre.training.launcher import Place
from decametre.training.loop import start, step_once
from decametre.training.order import micro_batches
from decametre.training.ranks import Ranks, joined
from decametre.training.recipe import AnyRecipe
from decametre.training.shares import equal_shares
from decametre.training.task import Batch
from decametre.training.tasks import task_of


class MarkedGradient(Gradient[Batch]):
    """A gradient whose making is marked in a trace."""

    def __call__(self, *of_step: Any) -> Tensor:
        """As any gradient."""
        with record_function(GRADIENT):
            return super().__call__(*of_step)


def measure_here(
    recipe: AnyRecipe, folder: Path, place: Place, device: str, precision: str, steps: int
) -> None:
    """Trace steps of all ranks that the launcher started; rank 0 writes the report.

    Args:
        recipe: With products to train and validate on.
        folder: For the report, the figure and the trace of rank 0.
        place: Of this process.
        device: See `ranks.joined`.
        precision: See `inference.device.choose_precision`.
        steps: How many are traced.

    Raises:
        DecametreError: As in training; or there is one rank only, norms look at all ranks, or the
            folder cannot be written.
    """
    if place.size < 2:
        raise TrainingError("a process on its own exchanges nothing; start two or more")
    with joined(place, device) as ranks, tempfile.TemporaryDirectory() as scratch:
        if ranks.first:
            check_writable(folder)
        dtype = ranks.from_first(choose_precision(precision, ranks.device))
        hardware = " + ".join(sorted(set(ranks.gathered(hardware_of(ranks.device, dtype)))))
        trace = Path(scratch) / TRACE
        weights = trace_steps(recipe, ranks, dtype, steps, trace)
        with gzip.open(trace, "rt", encoding="utf-8") as file:
            traced: list[list[Step]] = ranks.gathered(steps_of(json.load(file)))
        if not ranks.first:
            return
        report = Report(
            recipe=recipe.name,
            hardware=hardware,
            batch=recipe.optimization.batch,
            gradient_bytes=4 * weights,
            compression=recipe.distribution.compression,
            steps=[[step.times() for step in of_rank] for of_rank in traced],
        )
        write_report(report, traced, folder)
        shutil.copyfile(trace, folder / TRACE)


def check_writable(folder: Path) -> None:
    """Make the folder, before anything is measured for it.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
        (folder / TRACE).open("a").close()
    except OSError as error:
        raise OutputError(f"{folder}: cannot write ({error.strerror or error})") from error


def trace_steps(
    recipe: AnyRecipe, ranks: Ranks, precision: torch.dtype, steps: int, path: Path
) -> int:
    """Take steps of training, and trace those after the first few.

    Args:
        recipe: The run.
        ranks: Those who train together, with equal shares.
        precision: See `inference.device.choose_precision`.
        steps: How many are traced.
        path: Of the trace, in Chrome's format, compressed.

    Returns:
        How many weights are trained.

    Raises:
        TrainingError: Norms look at all ranks.
    """
    optimization = recipe.optimization
    task = task_of(recipe, None, ranks.device, precision)
    if normalization.synchronised(task.network):
        raise TrainingError(
            "network.norm synchronised: each norm waits for all ranks, in back-propagation too; "
            "trace with another norm"
        )
    state = start(task.network, optimization)
    gradient = MarkedGradient(task, state.network, ranks, recipe.distribution.compression)
    shares = equal_shares(ranks.size, optimization.batch, optimization.micro_batch or 1)
    batches = task.batches(
        0,
        WARM_UP + steps,
        lambda step: micro_batches(
            task.order.samples(step), shares, ranks.rank, optimization.micro_batch
        ),
    )
    on_gpu = [ProfilerActivity.CUDA] if ranks.device.type == "cuda" else []
    with profile(
        activities=[ProfilerActivity.CPU, *on_gpu],
        schedule=schedule(wait=WARM_UP - 1, warmup=1, active=steps, repeat=1),
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
    ) as profiler:
        for mine in batches:
            counted = sum(task.count(part) for part in mine)
            exchange = ranks.exchange([counted, *ranks.placed(gradient.clock.read())])
            step_once(state, task.steps, optimization, gradient, mine, exchange.first)
            profiler.step()
    return sum(w.numel() for w in task.network.parameters() if w.requires_grad)
