"""The training loop: batch, loss, gradient, step; validate, keep the best, save the state.

It knows nothing of images. A task gives batches and sums of losses, `Gradient` makes the gradient
of the mean over all ranks, and all that a step depends on is its number and the saved state: a
run that was killed and goes on ends with the weights of one left alone, on as many ranks as there
are then.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError
from decametre.training.batch_sharing import BatchSharing
from decametre.training.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    RunInputs,
    TrainingState,
    check_same_run,
    restore_state,
)
from decametre.training.gradient import Gradient
from decametre.training.load_balancing import efficiency
from decametre.training.optimizers import build_optimizer
from decametre.training.ranks import SINGLE_PROCESS, Ranks
from decametre.training.recipe import OptimizationRecipe, Recipe
from decametre.training.run_log import RunLog
from decametre.training.schedule import describe, learning_rate
from decametre.training.stopping import StopSignal
from decametre.training.task import Batch, Task

log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...] | list[Tensor]

ProgressCallback = Callable[[int, int, int], None]
"""Called with the steps done, all steps, and the samples that all ranks have seen."""

MAX_SKIPPED_STEPS = 10
"""So many steps in a row without a finite gradient end the run."""


def fit(
    task: Task[Batch],
    recipe: Recipe,
    folder: Path,
    progress: ProgressCallback,
    ranks: Ranks = SINGLE_PROCESS,
    saved: Checkpoint | None = None,
) -> None:
    """Train a task's network, from the beginning or from a checkpoint.

    Asked to stop (SIGTERM, SIGUSR1, Ctrl-C), the ranks do so together after a step, whose state is
    saved: the same command goes on there.

    Args:
        task: The task.
        recipe: The run.
        folder: The run's folder: the model with the best score (card and weights), the
            checkpoints, the log, TensorBoard events and pictures. It exists. Rank 0 alone writes.
        progress: See `ProgressCallback`.
        ranks: Those who train together.
        saved: Where the run stood, the same on every rank; None at its beginning.

    Raises:
        TrainingError: The checkpoint is another run's, the folder cannot be written, or the
            training diverged.
        KeyboardInterrupt: It was asked to stop.
    """
    origin = RunInputs(recipe.model_dump(mode="json"), task.extra_inputs)
    check_ranks_agree(ranks.gather(origin))
    state = initial_state(task.network, recipe.optimization)
    if saved is not None:
        check_same_run(saved.inputs, origin, folder)
        restore_state(state, saved)
        log.info("going on at step %d of %d", state.step, task.steps)
    first, end = state.step, task.steps
    if first >= end:
        return
    log.info("learning rate: %s", describe(end, recipe.optimization))
    gradient = Gradient(task, state.network, ranks, recipe.distribution.compression)
    sharing = BatchSharing(recipe, ranks, task.order)
    sharing.measure_speeds(task, gradient)
    with ExitStack() as open_until_end:
        open_until_end.enter_context(_output_errors(folder))
        stop = open_until_end.enter_context(StopSignal())
        if ranks.is_first:
            journal = open_until_end.enter_context(RunLog(folder, first))
            checkpoints = open_until_end.enter_context(
                CheckpointWriter(folder, origin, recipe.checkpoints)
            )
        progress(first, end, 0)
        batches = task.batches(first, end, sharing.rank_samples)
        meter, skipped, samples, asked = Meter(ranks), 0, 0, 0.0
        while state.step < end:
            if asked:
                if ranks.is_first:
                    checkpoints.save(state)
                    checkpoints.wait()
                ranks.broadcast(None)  # a launcher ends all ranks when the first of them ends
                log.info("asked to stop: step %d is saved; the same command goes on", state.step)
                raise KeyboardInterrupt
            with meter.waiting():
                mine = next(batches)
            counted = sum(task.count(batch) for batch in mine)
            # All that the ranks must know of each other, in one exchange. Only the count is needed
            # in this step, and not before the first loss is there: a rank that is late by less than
            # the others' forward pass makes nobody wait.
            exchange = ranks.start_sum(
                [counted, stop.requested, *ranks.at_own_index(gradient.timer.read())]
            )
            taken = sharing.sizes(state.step)
            loss_sum = train_step(state, end, recipe.optimization, gradient, mine, exchange.first)
            count, asked, *seconds = exchange.wait()
            meter.compute(seconds)
            meter.add(loss_sum, count, taken)
            skipped = skipped + 1 if loss_sum is None else 0
            if skipped:
                report_skipped(state.step, task.order.samples(state.step - 1), skipped)
            if sharing.observe(seconds, state.step - 2):
                batches = task.batches(state.step, end, sharing.rank_samples)
                gradient.timer.skip_interval()
            samples += sum(taken)
            progress(state.step, end, samples)
            if state.step % task.validate_every and state.step < end:
                continue
            record = meter.read()
            validation = task.validate(state.average.module, ranks)
            check_finite(state.step, record["loss"] or 0.0, validation.score)
            best = validation.score < state.best
            state.scores.append(validation.score)
            if ranks.is_first:
                if best:
                    task.save(folder, state.average.module, validation, state.step)
                journal.write(state.step, record | validation.record, validation.picture)
                checkpoints.save(state)
            meter = Meter(ranks)
            gradient.timer.skip_interval()


@contextmanager
def _output_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # nobody reads the log any more
        raise
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot go on ({error.strerror or error}); mend that, and the same command "
            "goes on from the last validation"
        ) from error


def check_ranks_agree(origins: Sequence[RunInputs]) -> None:
    """Refuse to train where a rank has another recipe or other products than rank 0.

    Raises:
        TrainingError: One has.
    """
    for rank, origin in enumerate(origins):
        if difference := origins[0].difference(origin):
            raise TrainingError(
                f"rank {rank} has not what rank 0 has: {difference}; give all ranks the same "
                "recipe and products"
            )


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


def report_skipped(step: int, samples: Sequence[int], in_row: int) -> None:
    """Say that a step was skipped.

    Raises:
        TrainingError: It was one too many in a row.
    """
    where = f"step {step}, samples {samples[0]} to {samples[-1]}: the gradient is not finite"
    if in_row >= MAX_SKIPPED_STEPS:
        raise TrainingError(
            f"{where}, {in_row} times in a row: the training diverged; what was saved before "
            "stays. Try a lower optimization.schedule.rate, or optimization.clip, in another folder"
        )
    log.warning("%s; the step is skipped", where)


def initial_state(network: nn.Module, recipe: OptimizationRecipe) -> TrainingState:
    """A run that has not begun."""

    def move(averages: Tensors, new: Tensors, count: Tensor | int) -> None:
        # Early on the average is short, so that the first, random weights are soon forgotten.
        decay = min(recipe.average, (int(count) + 1) / (int(count) + 10))
        torch._foreach_lerp_(averages, new, 1 - decay)

    # All weights at once: one by one, each would make a GPU's queue run empty to read the count.
    average = AveragedModel(network, multi_avg_fn=move)
    return TrainingState(network, average.eval(), build_optimizer(network, recipe))


def train_step(
    state: TrainingState,
    steps: int,
    recipe: OptimizationRecipe,
    gradient: Gradient[Batch],
    batches: Sequence[Batch],
    counted: Callable[[], float],
) -> Tensor | None:
    """One optimizer step, of all ranks together.

    Args:
        state: Is changed. Its step is counted even where it is skipped.
        steps: Of the run.
        recipe: Optimizer and learning rate.
        gradient: Of the state's network.
        batches: This rank's micro-batches.
        counted: See `Gradient.__call__`.

    Returns:
        The sum of this rank's losses; None where the gradient was not finite, for which reason
        nothing was changed.
    """
    rate = learning_rate(state.step, steps, recipe, state.scores)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    loss_sum = gradient(batches, counted)
    weights = [w for w in state.network.parameters() if w.grad is not None]
    norm = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    state.step += 1
    # Every rank has the same gradient by now, and comes to the same end.
    if not math.isfinite(float(norm)):
        return None
    if recipe.clip is not None:
        nn.utils.clip_grads_with_norm_(weights, recipe.clip, norm)
    state.optimizer.step()
    gradient.update_statistics(counted())
    state.average.update_parameters(state.network)
    return loss_sum


class Meter:
    """Loss, speed and waiting between two validations.

    Args:
        ranks: Those who train together.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.loss_sum = torch.zeros((), device=ranks.device, dtype=torch.float64)
        self.count = 0.0
        self.steps, self.skipped, self.waited = 0, 0, 0.0
        self.begun = time.perf_counter()
        self.shares: Sequence[int] = ()
        self.samples, self.seconds = [0] * ranks.size, [0.0] * ranks.size

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A context whose time counts as waiting for data."""
        begun = time.perf_counter()
        yield
        self.waited += time.perf_counter() - begun

    def compute(self, seconds: Sequence[float]) -> None:
        """Note how long each rank computed in the step that was added last."""
        if self.shares:
            self.samples = [a + b for a, b in zip(self.samples, self.shares, strict=True)]
            self.seconds = [a + b for a, b in zip(self.seconds, seconds, strict=True)]

    def add(self, loss_sum: Tensor | None, count: float, shares: Sequence[int]) -> None:
        """Note a step; nothing is fetched from the device.

        Args:
            loss_sum: Of this rank; None of a step that was skipped.
            count: Of all ranks.
            shares: Samples of each rank.
        """
        self.steps, self.shares = self.steps + 1, shares
        if loss_sum is None:
            self.skipped += 1
            return
        self.loss_sum, self.count = self.loss_sum + loss_sum, self.count + count

    def read(self) -> dict[str, Any]:
        """For the log: mean loss over all ranks, speed, and what became of the time."""
        seconds = time.perf_counter() - self.begun
        (loss_sum,) = self.ranks.sum([float(self.loss_sum)])
        record: dict[str, Any] = {
            # Of steps that were all skipped there is none.
            "loss": round(loss_sum / self.count, 8) if self.count else None,
            "steps_per_second": round(self.steps / seconds, 3),
            "waiting_for_data": round(self.waited / seconds, 4),
        }
        if self.skipped:
            record["skipped_steps"] = self.skipped
        if self.ranks.size > 1:
            record["ranks"] = self._by_rank(seconds)
        return record

    def _by_rank(self, seconds: float) -> dict[str, Any]:
        waited = self.ranks.gather(self.waited / seconds)
        record: dict[str, Any] = {
            "samples": self.samples,
            "computing": [round(s / seconds, 4) for s in self.seconds],
            "waiting_for_data": [round(w, 4) for w in waited],
        }
        if any(self.seconds):
            record["efficiency"] = round(efficiency(self.samples, self.seconds, seconds), 4)
        return record
