"""The training loop: batch, loss, gradient, step; validate, keep the best weights, save the state.

It is independent of the data. A task provides batches and sums of losses, and `Gradient` computes
the gradient of the mean over all ranks. A step depends only on its number and the saved state:
therefore a run that was killed and resumed ends with the same weights as an uninterrupted run, even
if the number of ranks changed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from decametre.errors import TrainingError
from decametre.progress import Progress
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
from decametre.training.meter import Meter
from decametre.training.observer import StepTimes, TrainingObserver
from decametre.training.optimizers import build_optimizer
from decametre.training.ranks import SINGLE_PROCESS, Ranks
from decametre.training.recipe import OptimizationRecipe, Recipe
from decametre.training.run_log import RunLog
from decametre.training.schedule import describe, learning_rate, warmup_problem
from decametre.training.stopping import StopSignal
from decametre.training.task import Batch, Task

log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...] | list[Tensor]

MAX_SKIPPED_STEPS = 10
"""The run ends after this many steps in a row without a finite gradient."""

DIVERGENCE_REMEDY = (
    "the training diverged. Files saved before remain; try a lower optimization.schedule.rate, or "
    "optimization.clip, in another folder"
)


def fit(
    task: Task[Batch],
    recipe: Recipe,
    folder: Path,
    progress: Progress,
    ranks: Ranks = SINGLE_PROCESS,
    checkpoint: Checkpoint | None = None,
    observer: TrainingObserver | None = None,
) -> None:
    """Train a task's network, from the beginning or from a checkpoint.

    After SIGTERM, SIGUSR1 or Ctrl-C, all ranks stop after the same step and the state is saved.

    Args:
        task: The task.
        recipe: The recipe of the run.
        folder: The run's folder, which must exist. Rank 0 writes the model with the best score
            (card and weights), checkpoints, the log, TensorBoard events and pictures there.
        progress: Called with the completed steps, all steps, and the samples of all ranks.
        ranks: The ranks that train together.
        checkpoint: Where to resume, the same on every rank; None to begin a run.
        observer: Receives the events of the run.

    Raises:
        TrainingError: The ranks or the checkpoint have other inputs, the folder cannot be written,
            or the training diverged.
        KeyboardInterrupt: A stop was requested.
    """
    inputs = RunInputs(recipe.model_dump(mode="json"), task.extra_inputs)
    check_ranks_agree(ranks.gather(inputs))
    state = initial_state(task.network, recipe.optimization)
    if checkpoint is not None:
        check_same_run(checkpoint.inputs, inputs, folder)
        restore_state(state, checkpoint)
        log.info("resuming at step %d of %d", state.step, task.steps)
    if state.step >= task.steps:
        return
    log.info("learning rate: %s", describe(task.steps, recipe.optimization))
    if problem := warmup_problem(task.steps, recipe.optimization):
        log.warning("%s", problem)
    initial = None
    if not state.step and task.extra_inputs.get("init"):
        initial = task.validate(state.average.module, ranks).score
        log.info("step 0: score %.4g, of the weights that the training starts with", initial)
    loop = TrainingLoop(task, recipe, state, ranks, progress, observer or TrainingObserver())
    loop.run(folder, inputs)
    if initial is not None and min(state.scores) >= initial:
        log.warning(
            "the training did not improve the weights it started with: score %.4g at step 0, "
            "%.4g at best; lower is better",
            initial,
            min(state.scores),
        )


@dataclass
class _Outputs:
    """What rank 0 writes."""

    folder: Path
    run_log: RunLog
    checkpoints: CheckpointWriter


class TrainingLoop(Generic[Batch]):
    """The steps of a run.

    Args:
        task: The task.
        recipe: The recipe of the run.
        state: State at the beginning; changed in each step.
        ranks: The ranks that train together.
        progress: Called with the completed steps, all steps, and the samples of all ranks.
        observer: Receives the events of the run.
    """

    def __init__(
        self,
        task: Task[Batch],
        recipe: Recipe,
        state: TrainingState,
        ranks: Ranks,
        progress: Progress,
        observer: TrainingObserver,
    ) -> None:
        self.task, self.recipe, self.state, self.ranks = task, recipe, state, ranks
        self.progress, self.observer = progress, observer
        self.gradient = Gradient(task, state.network, ranks, recipe.distribution.compression)
        self.sharing = BatchSharing(recipe, ranks, task.order)
        self.meter = Meter(ranks)
        self.stop = StopSignal()
        self.samples, self.skipped_in_row = 0, 0

    def run(self, folder: Path, inputs: RunInputs) -> None:
        """Take all steps. See `fit`."""
        state, task = self.state, self.task
        self.observer.data_loaded()
        begun = time.perf_counter()
        self.sharing.measure_speeds(task, self.gradient)
        ended = time.perf_counter()
        self.observer.trials_ended(ended, ended - begun, self.sharing.shares)
        with ExitStack() as contexts:
            contexts.enter_context(_output_errors(folder))
            contexts.enter_context(self.stop)
            outputs = None
            if self.ranks.is_first:
                outputs = _Outputs(
                    folder,
                    contexts.enter_context(RunLog(folder, state.step)),
                    contexts.enter_context(
                        CheckpointWriter(folder, inputs, self.recipe.checkpoints)
                    ),
                )
            self.progress(state.step, task.steps, 0)
            self._open_batches()
            self.meter = Meter(self.ranks)
            stop = False
            while state.step < task.steps:
                if stop:
                    self._save_and_stop(outputs)
                stop = self._take_step()
                if state.step % task.validate_every == 0 or state.step == task.steps:
                    self._validate(outputs)

    def _open_batches(self) -> None:
        self.batches = self.task.batches(
            self.state.step, self.task.steps, self.sharing.rank_samples
        )

    def _take_step(self) -> bool:
        """Take a step; returns whether a rank was asked to stop."""
        state, task, ranks, sharing = self.state, self.task, self.ranks, self.sharing
        timer = self.gradient.timer
        begun = time.perf_counter()
        batches = next(self.batches)
        waiting = time.perf_counter() - begun
        count = sum(task.count(batch) for batch in batches)
        # One exchange holds everything that the ranks need from each other. Of its results, only
        # the count is used in this step, and only after the first forward pass: a rank that is late
        # by less than the others' forward pass delays nobody.
        begun = time.perf_counter()
        sums = ranks.start_sum([count, self.stop.requested, *ranks.at_own_index(timer.read())])
        exchange = time.perf_counter() - begun
        shares, sizes = tuple(sharing.shares), sharing.sizes(state.step)
        loss_sum = train_step(
            state, task.steps, self.recipe.optimization, self.gradient, batches, sums.first
        )
        global_count, stop, *seconds = sums.wait()
        exchange += timer.waited
        self.meter.add_compute_times(seconds)
        self.meter.add_step(loss_sum, global_count, sizes, waiting)
        self.skipped_in_row = self.skipped_in_row + 1 if loss_sum is None else 0
        if self.skipped_in_row:
            report_skipped(state.step, task.order.samples(state.step - 1), self.skipped_in_row)
        begun = time.perf_counter()
        if sharing.observe(seconds, state.step - 2):
            self._open_batches()
            timer.skip_interval()
        ended = time.perf_counter()
        self.samples += sum(sizes)
        self.progress(state.step, task.steps, self.samples)
        self.observer.step_ended(
            StepTimes(state.step, ended, waiting, exchange, ended - begun, shares, tuple(seconds))
        )
        return bool(stop)

    def _validate(self, outputs: _Outputs | None) -> None:
        state, task = self.state, self.task
        record = self.meter.read()
        validation = task.validate(state.average.module, self.ranks)
        check_finite(state.step, record["loss"] or 0.0, validation.score)
        best = validation.score < state.best
        state.scores.append(validation.score)
        if outputs is not None:
            if best:
                task.save(outputs.folder, state.average.module, validation, state.step)
            outputs.run_log.write(state.step, record | validation.record, validation.picture)
            outputs.checkpoints.save(state)
        self.meter = Meter(self.ranks)
        self.gradient.timer.skip_interval()

    def _save_and_stop(self, outputs: _Outputs | None) -> None:
        if outputs is not None:
            outputs.checkpoints.save(self.state)
            outputs.checkpoints.wait()
        # Wait for rank 0's file: a launcher ends all ranks as soon as one of them has ended.
        self.ranks.broadcast(None)
        log.info(
            "stopped on request: step %d is saved; repeat the command to resume", self.state.step
        )
        raise KeyboardInterrupt


@contextmanager
def _output_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader of the log has ended
        raise
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot be written ({error.strerror or error}); repair this and repeat the "
            "command to resume from the latest validation"
        ) from error


def check_ranks_agree(inputs: Sequence[RunInputs]) -> None:
    """Check that all ranks have the same recipe and data.

    Raises:
        TrainingError: A rank differs from rank 0.
    """
    for rank, other in enumerate(inputs):
        if difference := inputs[0].difference(other):
            raise TrainingError(
                f"rank {rank} differs from rank 0: {difference}; use the same recipe and data "
                "on all ranks"
            )


def check_finite(step: int, loss: float, score: float) -> None:
    """Check the loss and the score before they are saved in a checkpoint.

    Raises:
        TrainingError: One of them is not finite.
    """
    if not (math.isfinite(loss) and math.isfinite(score)):
        raise TrainingError(
            f"step {step}: the loss is {loss:g} and the validation score {score:g}: "
            f"{DIVERGENCE_REMEDY}"
        )


def report_skipped(step: int, samples: Sequence[int], in_row: int) -> None:
    """Log a skipped step.

    Raises:
        TrainingError: `MAX_SKIPPED_STEPS` steps in a row were skipped.
    """
    where = f"step {step}, samples {samples[0]} to {samples[-1]}: the gradient is not finite"
    if in_row >= MAX_SKIPPED_STEPS:
        raise TrainingError(f"{where}, {in_row} times in a row: {DIVERGENCE_REMEDY}")
    log.warning("%s; the step is skipped", where)


def initial_state(network: nn.Module, recipe: OptimizationRecipe) -> TrainingState:
    """The state of a new run."""

    def update(averages: Tensors, new: Tensors, count: Tensor | int) -> None:
        # The decay begins low, so that the random initial weights have little influence.
        decay = min(recipe.average, (int(count) + 1) / (int(count) + 10))
        torch._foreach_lerp_(averages, new, 1 - decay)

    # One call for all weights: separate calls would each wait for a GPU to read the count.
    average = AveragedModel(network, multi_avg_fn=update)
    return TrainingState(network, average.eval(), build_optimizer(network, recipe))


def train_step(
    state: TrainingState,
    steps: int,
    recipe: OptimizationRecipe,
    gradient: Gradient[Batch],
    batches: Sequence[Batch],
    global_count: Callable[[], float],
) -> Tensor | None:
    """Take one optimizer step, together with the other ranks.

    Args:
        state: Is changed. Its step number rises even if the step is skipped.
        steps: Steps of the run.
        recipe: Optimizer and learning rate.
        gradient: Computes the gradient of the state's network.
        batches: This rank's micro-batches.
        global_count: See `Gradient.__call__`.

    Returns:
        The sum of this rank's losses; None if the gradient was not finite and the step skipped.
    """
    rate = learning_rate(state.step, steps, recipe, state.scores)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    loss_sum = gradient(batches, global_count)
    weights = [w for w in state.network.parameters() if w.grad is not None]
    norm = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
    state.step += 1
    # All ranks have the same gradient here, and so come to the same decision.
    if not math.isfinite(float(norm)):
        return None
    if recipe.clip is not None:
        nn.utils.clip_grads_with_norm_(weights, recipe.clip, norm)
    state.optimizer.step()
    gradient.update_statistics(global_count())
    state.average.update_parameters(state.network)
    return loss_sum
