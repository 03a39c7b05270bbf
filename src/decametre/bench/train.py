"""Does training wait for its data? Drawing alone, steps alone, and both together.

The three are timed in turn, several times over, in one process on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from decametre.device import choose_devices, choose_precision
from decametre.recipes.reading import AnyRecipe
from decametre.recipes.tasks import build_task
from decametre.superres.degradation.degraded_scene import Pair
from decametre.training.batch_sharing import BatchSharing
from decametre.training.gradient import Gradient
from decametre.training.launcher import RankInfo
from decametre.training.loop import initial_state, train_step
from decametre.training.ranks import Ranks

Batches = Iterator[list[Pair]]

ROUNDS = 3
"""How often each of the three is timed; the fastest counts, the others met other programs."""


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        recipe: Its name.
        device: Where the network was trained.
        precision: Of the forward pass.
        threads: Of torch.
        workers: Processes that draw patches; with 0 the training process does.
        batch: Patches a step.
        data_alone: Patches a second, drawn and thrown away.
        step_alone: Patches a second, the same batch again and again.
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
        """For JSON."""
        return asdict(self) | {"data_over_step": self.data_alone / self.step_alone}

    def table(self) -> str:
        """For the terminal, in Markdown."""
        rows = (
            ("data alone", f"{self.data_alone:.0f} patches/s"),
            ("steps alone", f"{self.step_alone:.0f} patches/s"),
            ("**together**", f"**{self.together:.0f} patches/s**"),
            ("data alone / steps alone", f"{self.data_alone / self.step_alone:.1f}"),
            ("together / steps alone", f"{self.together / self.step_alone:.2f}"),
        )
        head = (
            f"| {self.recipe}, batches of {self.batch}, {self.device} with {self.threads} "
            f"threads, {self.precision}, {self.workers} workers | |"
        )
        return "\n".join([head, "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def run(recipe: AnyRecipe, steps: int, device: str = "auto", precision: str = "auto") -> Report:
    """Time a recipe.

    Args:
        recipe: With products to train and validate on.
        steps: How many batches each measurement takes.
        device: See `inference.device.choose_devices`.
        precision: See `inference.device.choose_precision`.

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
            next(batches)  # the workers' start is not what is asked
            synchronize(chosen)
            begun = time.perf_counter()
            job(batches)
            synchronize(chosen)
            rate = steps * recipe.optimization.batch / (time.perf_counter() - begun)
            best[name] = max(best[name], rate)
    return Report(
        recipe=recipe.name,
        device=str(chosen),
        precision=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        workers=recipe.data.workers,
        batch=recipe.optimization.batch,
        **best,
    )


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
