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
from contextlib import closing, contextmanager
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
from decametre.training.elastic import share_state
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
    state = initial_state(task.network, recipe.optimization)
    if checkpoint is not None:
        check_same_run(checkpoint.inputs, inputs, folder)
        restore_state(state, checkpoint)
        log.info("resuming at step %d of %d", state.step, task.steps)
    if state.step >= task.steps:
        ranks.attempt(lambda: check_ranks_agree(ranks.gather(inputs), ranks))
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
        self.sharing = BatchSharing(recipe, ranks, task.order)
        self.meter = Meter(ranks)
        self.stop = StopSignal()
        self.samples, self.skipped_in_row = 0, 0

    def run(self, folder: Path, inputs: RunInputs) -> None:
        """Take all steps. See `fit`."""
        self.observer.data_loaded()
        with _output_errors(folder), self.stop:
            if self.ranks.joins_late:
                self.ranks.regroup()
            while True:
                try:
                    if self._run_with_present_ranks(folder, inputs):
                        self.ranks.leave()
                        return
                except RuntimeError as error:
                    if not self.ranks.survive(error):
                        raise
                # Here the error and its traceback no longer refer to the process groups.
                self.ranks.regroup()

    def _run_with_present_ranks(self, folder: Path, inputs: RunInputs) -> bool:
        """Train until the end of the run (True), or until other ranks join (False)."""
        ranks, known = self.ranks, self.sharing.own_speed()
        check_ranks_agree(ranks.gather(inputs), ranks)
        share_state(self.state, ranks, inputs)
        compression = self.recipe.distribution.compression
        with closing(Gradient(self.task, self.state.network, ranks, compression)) as self.gradient:
            self.sharing = BatchSharing(self.recipe, ranks, self.task.order)
            begun = time.perf_counter()
            self.sharing.measure_speeds(self.task, self.gradient, known)
            ended = time.perf_counter()
            self.observer.trials_ended(ended, ended - begun, self.sharing.shares)
            with self._open_outputs(folder, inputs) as outputs:
                return self._take_steps(outputs)

    @contextmanager
    def _open_outputs(self, folder: Path, inputs: RunInputs) -> Iterator[_Outputs | None]:
        if not self.ranks.is_first:
            yield None
            return
        recorded = self.state.step - self._validation_is_due()
        with (
            RunLog(folder, recorded) as run_log,
            CheckpointWriter(folder, inputs, self.recipe.checkpoints) as checkpoints,
        ):
            yield _Outputs(folder, run_log, checkpoints)

    def _take_steps(self, outputs: _Outputs | None) -> bool:
        """See `_run_with_present_ranks`."""
        state, task = self.state, self.task
        self.progress(state.step, task.steps, self.samples)
        self._open_batches()
        self.meter = Meter(self.ranks)
        self.gradient.timer.skip_interval()
        stop = False
        while True:
            if self._validation_is_due():
                self._validate(outputs)
            if state.step == task.steps:
                if outputs is not None:
                    outputs.checkpoints.wait()
                self.ranks.sum([0.0])  # all files are written
                return True
            if stop:
                self._save_and_stop(outputs)
            stop, newcomers = self._take_step()
            if newcomers and not stop and state.step < task.steps:
                return False

    def _validation_is_due(self) -> bool:
        steps, every = self.state.step, self.task.validate_every
        due = steps // every + (steps == self.task.steps and steps % every > 0)
        return len(self.state.scores) < due

    def _open_batches(self) -> None:
        self.batches = self.task.batches(
            self.state.step, self.task.steps, self.sharing.rank_samples
        )

    def _take_step(self) -> tuple[bool, bool]:
        """Take a step; returns whether to stop, and whether other ranks want to join."""
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
        times = ranks.at_own_index(timer.read())
        sums = ranks.start_sum([count, self.stop.requested, ranks.newcomers, *times])
        exchange = time.perf_counter() - begun
        shares, sizes = tuple(sharing.shares), sharing.sizes(state.step)
        loss_sum = train_step(
            state, task.steps, self.recipe.optimization, self.gradient, batches, sums.first
        )
        global_count, stop, newcomers, *seconds = sums.wait()
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
        return bool(stop), bool(newcomers)

    def _validate(self, outputs: _Outputs | None) -> None:
        state, task = self.state, self.task
        record = self.meter.read()
        validation = task.validate(state.average.module, self.ranks)
        check_finite(state.step, record["loss"] or 0.0, validation.score)
        if outputs is not None:
            if validation.score < state.best:
                task.save(outputs.folder, state.average.module, validation, state.step)
            outputs.run_log.write(state.step, record | validation.record, validation.picture)
            state.scores.append(validation.score)
            outputs.checkpoints.save(state)
        # If rank 0 is lost before it has written its files, the next one validates again.
        self.ranks.sum([0.0])
        if outputs is None:
            state.scores.append(validation.score)
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


def check_ranks_agree(inputs: Sequence[RunInputs], ranks: Ranks = SINGLE_PROCESS) -> None:
    """Check that all ranks have the same recipe and data.

    Args:
        inputs: Those of all ranks.
        ranks: The ranks. If they continue after a failure, only the rank that differs ends.

    Raises:
        TrainingError: A rank differs from rank 0.
    """
    for rank, other in enumerate(inputs):
        if ranks.elastic and rank != ranks.rank:
            continue
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
    # All ranks have the same gradient here, and so come to the same decision.
    if not math.isfinite(float(norm)):
        state.step += 1
        return None
    if recipe.clip is not None:
        nn.utils.clip_grads_with_norm_(weights, recipe.clip, norm)
    # The last exchange with other ranks comes first: if it fails, the state is that of the step
    # before, and if it does not, nothing else can.
    gradient.update_statistics(global_count())
    state.optimizer.step()
    state.average.update_parameters(state.network)
    state.step += 1
    return loss_sum
