"""The training loop: batch, loss, gradient, step; validate, keep the best, save the state.

It knows nothing of images. A task gives batches and sums of losses, `gradient.backward` makes the
gradient of the mean, and everything that a step depends on is its number and the saved state: a
run that was killed and goes on ends with the weights of one left alone.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError
from decametre.training.checkpoint import Origin, State, load_state, save_state
from decametre.training.gradient import backward
from decametre.training.journal import Journal
from decametre.training.optimizers import build_optimizer
from decametre.training.recipe import OptimizationRecipe, Recipe
from decametre.training.schedule import describe, learning_rate
from decametre.training.task import Batch, Task

log = logging.getLogger(__name__)

Progress = Callable[[int, int, int], None]
"""Called with the steps done, all steps, and the samples that this process has seen."""


def fit(task: Task[Batch], recipe: Recipe, folder: Path, progress: Progress) -> None:
    """Train a task's network, or go on where a run in this folder stopped.

    Args:
        task: The task.
        recipe: The run.
        folder: The run's folder: the model with the best score (card and weights), the
            checkpoint, the log, TensorBoard events and pictures. It exists.
        progress: See `Progress`.

    Raises:
        TrainingError: The folder holds another run or cannot be written, or the training
            diverged.
    """
    origin = Origin(recipe.model_dump(mode="json"), task.beside)
    state = start(task.network, recipe.optimization)
    if load_state(state, folder, origin):
        log.info("going on at step %d of %d", state.step, recipe.optimization.steps)
    if state.step >= recipe.optimization.steps:
        return
    log.info("learning rate: %s", describe(recipe.optimization))
    with _written(folder), Journal(folder, state.step) as journal:
        first, end = state.step, recipe.optimization.steps
        batches = task.batches(first, end)
        progress(first, end, 0)
        meter = Meter()
        while state.step < end:
            with meter.waiting():
                batch = next(batches)
            loss_sum, count = step_once(task, state, recipe.optimization, batch)
            meter.add(loss_sum, count)
            progress(state.step, end, (state.step - first) * recipe.optimization.batch)
            if state.step % recipe.validate_every and state.step < end:
                continue
            record = meter.read()
            validation = task.validate(state.average.module)
            check_finite(state.step, record["loss"], validation.score)
            if validation.score < state.best:
                task.save(folder, state.average.module, validation, state.step)
            state.scores.append(validation.score)
            journal.write(state.step, record | validation.record, validation.picture)
            save_state(state, folder, origin)
            meter = Meter()


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # nobody reads the log any more
        raise
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot go on ({error.strerror or error}); mend that, and the same command "
            "goes on from the last validation"
        ) from error


def check_finite(step: int, loss: float, score: float) -> None:
    """Stop before numbers that are none get into the checkpoint.

    Raises:
        TrainingError: Loss or score is not a finite number.
    """
    if not (math.isfinite(loss) and math.isfinite(score)):
        raise TrainingError(
            f"step {step}: the loss is {loss:g} and the validation score {score:g}: the training "
            "diverged; what was saved before stays. Try a lower optimization.schedule.rate, or "
            "optimization.clip, in another folder"
        )


def start(network: nn.Module, recipe: OptimizationRecipe) -> State:
    """A run that has not begun."""

    def moved(average: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        # Early on the average is short, so that the first, random weights are soon forgotten.
        decay = min(recipe.average, (int(count) + 1) / (int(count) + 10))
        return average.lerp(new, 1 - decay)

    average = AveragedModel(network, avg_fn=moved if recipe.average else lambda a, new, n: new)
    return State(network, average.eval(), build_optimizer(network, recipe))


def step_once(
    task: Task[Batch], state: State, recipe: OptimizationRecipe, batch: Batch
) -> tuple[Tensor, Tensor]:
    """One optimizer step.

    Returns:
        The batch's sum of losses, and their number.
    """
    rate = learning_rate(state.step, recipe, state.scores)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    loss_sum, count = task.loss(state.network, batch)
    backward(loss_sum, count)
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip)
    state.optimizer.step()
    state.average.update_parameters(state.network)
    state.step += 1
    return loss_sum.detach(), count


class Meter:
    """Loss and speed between two validations."""

    def __init__(self) -> None:
        self.loss_sum: Tensor | float = 0.0
        self.count: Tensor | int = 0
        self.steps, self.waited, self.begun = 0, 0.0, time.perf_counter()

    def waiting(self) -> _Clock:
        """A context whose time counts as waiting for data."""
        return _Clock(self)

    def add(self, loss_sum: Tensor, count: Tensor) -> None:
        """Note a step; nothing is fetched from the device."""
        self.loss_sum, self.count = self.loss_sum + loss_sum, self.count + count
        self.steps += 1

    def read(self) -> dict[str, float]:
        """Mean loss, steps a second, and the share of time spent waiting for data."""
        loss = float(self.loss_sum) / max(1, int(self.count))
        seconds = time.perf_counter() - self.begun
        return {
            "loss": round(loss, 8),
            "steps_per_second": round(self.steps / seconds, 3),
            "waiting_for_data": round(self.waited / seconds, 4),
        }


class _Clock:
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def __enter__(self) -> None:
        self.begun = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.meter.waited += time.perf_counter() - self.begun
