"""Does training wait for its data? Preparing samples alone, steps alone, and both together.

The three are timed several times, alternating, in one process on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from decametre.bench.report_files import markdown_table
from decametre.device import choose_devices, choose_precision, precision_name
from decametre.recipes.reading import AnyRecipe
from decametre.recipes.tasks import build_task
from decametre.superres.degradation.degraded_scene import DegradedPair
from decametre.training.batch_sharing import BatchSharing
from decametre.training.gradient import Gradient
from decametre.training.launcher import RankInfo
from decametre.training.loop import initial_state, train_step
from decametre.training.ranks import Ranks

Batches = Iterator[list[DegradedPair]]

ROUNDS = 3
"""How often each of the three is timed. The fastest counts, as other programs delay the others."""


@dataclass(frozen=True)
class TrainReport:
    """Throughputs of a recipe.

    Attributes:
        recipe: Name of the recipe.
        device: Device of the network.
        precision: Precision of the forward pass.
        threads: Threads of torch.
        workers: Processes that prepare patches; with 0 the training process does.
        batch: Patches of a step.
        data_alone: Patches a second that are prepared, without steps.
        step_alone: Patches a second in steps that repeat one batch.
        together: Patches a second as in training.
    """

    recipe: str
    device: str
    precision: str
    threads: int
    workers: int
    batch: int
    data_alone: float
    step_alone: float
    together: float

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self) | {"data_over_step": self.data_alone / self.step_alone}

    def table(self) -> str:
        """The report as a table in Markdown, for the terminal."""
        rows = (
            ("data alone", f"{self.data_alone:.0f} patches/s"),
            ("steps alone", f"{self.step_alone:.0f} patches/s"),
            ("**together**", f"**{self.together:.0f} patches/s**"),
            ("data alone / steps alone", f"{self.data_alone / self.step_alone:.1f}"),
            ("together / steps alone", f"{self.together / self.step_alone:.2f}"),
        )
        head = (
            f"{self.recipe}, batches of {self.batch}, {self.device} with {self.threads} "
            f"threads, {self.precision}, {self.workers} workers"
        )
        return "\n".join(markdown_table((head, ""), rows))


def run(
    recipe: AnyRecipe, steps: int, device: str = "auto", precision: str = "auto"
) -> TrainReport:
    """Time a recipe.

    Args:
        recipe: With products for training and validation.
        steps: Batches of each measurement.
        device: See `decametre.device.choose_devices`.
        precision: See `decametre.device.choose_precision`.

    Raises:
        DecametreError: As in training.
    """
    chosen = choose_devices(device)[0]
    dtype = choose_precision(precision, chosen)
    task = build_task(recipe, None, chosen, dtype)
    state = initial_state(task.network, recipe.optimization)
    ranks = Ranks(RankInfo(), chosen, None, [str(chosen)])
    gradient = Gradient(task, state.network, ranks)
    parts = BatchSharing(recipe, ranks, task.order).rank_samples
    first = next(task.batches(0, 1, parts))

    def draw(batches: Batches) -> None:
        for _ in range(steps):
            next(batches)

    def train(batches: Batches) -> None:
        for _ in range(steps):
            mine = next(batches)
            count = sum(task.count(batch) for batch in mine)
            counted = ranks.start_sum([count]).first
            train_step(state, task.steps, recipe.optimization, gradient, mine, counted)

    def same() -> Batches:
        while True:
            yield first

    def drawn() -> Batches:
        return task.batches(0, steps + 1, parts)

    jobs: dict[str, tuple[Callable[[Batches], None], Callable[[], Batches]]] = {
        "data_alone": (draw, drawn),
        "step_alone": (train, same),
        "together": (train, drawn),
    }
    best = dict.fromkeys(jobs, 0.0)
    for _ in range(ROUNDS):
        for name, (job, make) in jobs.items():
            batches = make()
            next(batches)  # do not time the start of the workers
            synchronize(chosen)
            begun = time.perf_counter()
            job(batches)
            synchronize(chosen)
            rate = steps * recipe.optimization.batch / (time.perf_counter() - begun)
            best[name] = max(best[name], rate)
    return TrainReport(
        recipe=recipe.name,
        device=str(chosen),
        precision=precision_name(dtype),
        threads=torch.get_num_threads(),
        workers=recipe.data.workers,
        batch=recipe.optimization.batch,
        **best,
    )


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has completed all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
