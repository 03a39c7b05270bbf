"""One training run: a recipe in, a model folder out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from decametre.device import choose_precision, precision_name
from decametre.errors import OutputError, TrainingError
from decametre.files import check_parent, locked
from decametre.model_folder import CARD_NAME
from decametre.progress import Progress
from decametre.recipes.reading import AnyRecipe, fill_defaults
from decametre.recipes.tasks import (
    TrainedCard,
    build_task,
    read_trained_card,
    summarise_card,
)
from decametre.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    RunInputs,
    check_same_run,
    read_checkpoint,
    read_newest_checkpoint,
)
from decametre.training.elastic import join_elastic_ranks
from decametre.training.launcher import RankInfo, read_rank_info
from decametre.training.loop import fit
from decametre.training.observer import TrainingObserver
from decametre.training.ranks import Ranks, join_ranks
from decametre.training.supervisor import is_supervised, supervise

log = logging.getLogger(__name__)

LOCK_NAME = ".lock"


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run.

    Attributes:
        folder: The model folder, for `sharpen` or `landcover`.
        card: Card of the weights with the best validation score.
    """

    folder: Path
    card: TrainedCard

    def summary(self) -> str:
        """The best validation score and its step, as text."""
        return summarise_card(self.card)


def run(
    recipe: AnyRecipe,
    folder: Path,
    init: str | None,
    device: str,
    precision: str,
    resume: str,
    progress: Progress,
    observer: TrainingObserver | None = None,
) -> TrainingResult:
    """Train a recipe's network in a folder, or resume the run there.

    Args:
        recipe: The recipe.
        folder: Created if it does not exist; its parent must exist.
        init: Name or folder of a model whose weights the network starts with.
        device: See `ranks.join_ranks`.
        precision: See `decametre.device.choose_precision`.
        resume: See `find_checkpoint`.
        progress: Called with the completed steps, all steps, and the samples of all ranks.
        observer: Receives the events of the run.

    Returns:
        The folder and the card of the best weights.

    Raises:
        DecametreError: An input, a setting or the state of the machine is wrong.
    """
    info = read_rank_info()
    failure = recipe.distribution.on_failure
    elastic = info.size > 1 and failure != "stop"
    if elastic and not is_supervised():
        raise SystemExit(supervise(str(info)))
    join = _join_elastic(info, device, folder, failure == "restart") if elastic else None
    with (
        _rank_in_errors(info),
        join or _join(info, device, folder) as ranks,
    ):
        checkpoint = None
        if not ranks.joins_late:  # otherwise the state is that of the other ranks
            checkpoint = ranks.attempt(
                lambda: ranks.broadcast(find_checkpoint(folder, resume) if ranks.is_first else None)
            )
        if checkpoint is not None:
            # Compare the recipes before reading products takes minutes; `fit` compares those.
            now = RunInputs(recipe.model_dump(mode="json"), checkpoint.inputs.extra)
            check_same_run(checkpoint.inputs, now, folder)
        if precision == "auto":
            # A resumed run keeps its precision.
            saved = None if checkpoint is None else checkpoint.inputs.extra.get("precision")
            precision = saved or ranks.agree("precision", lambda: common_precision(ranks))
        dtype = choose_precision(precision, ranks.device)
        log.info("%s in %s on %s", recipe.name, precision_name(dtype), ", ".join(ranks.devices))
        task = build_task(recipe, init, ranks.device, dtype)
        fit(task, recipe, folder, progress, ranks, checkpoint, observer)
        if elastic:  # they share the folder
            card = read_trained_card(recipe, folder)
        else:
            card = ranks.broadcast(read_trained_card(recipe, folder) if ranks.is_first else None)
    return TrainingResult(folder, card)


@contextmanager
def _join(info: RankInfo, device: str, folder: Path) -> Iterator[Ranks]:
    """The ranks of a run that ends if one of them does; rank 0 locks the folder."""
    with (
        join_ranks(info, device) as ranks,
        lock_run_folder(folder) if ranks.is_first else nullcontext(),
    ):
        yield ranks


@contextmanager
def _join_elastic(info: RankInfo, device: str, folder: Path, together: bool) -> Iterator[Ranks]:
    """The ranks of a run that survives lost ranks; all of them lock the folder."""
    create_run_folder(folder)
    with join_elastic_ranks(info, device, folder, folder / LOCK_NAME, together=together) as ranks:
        yield ranks


@contextmanager
def _rank_in_errors(info: RankInfo) -> Iterator[None]:
    """Add the rank to errors that leave this context."""
    try:
        yield
    except Exception as error:
        if info.size > 1:
            error.add_note(str(info))
        raise


def find_checkpoint(folder: Path, resume: str) -> Checkpoint | None:
    """The checkpoint to resume from; None to begin a run.

    Args:
        folder: The run's folder.
        resume: `auto`: the newest checkpoint in the folder, if any. `never`, or the path of another
            checkpoint: the folder must not have one.

    Raises:
        TrainingError: The checkpoint is damaged or missing, or one would be overwritten.
    """
    if resume == "auto":
        return _fill_recipe(read_newest_checkpoint(folder))
    if (folder / CHECKPOINT_NAME).exists():
        raise TrainingError(
            f"{folder} holds a run, which --resume {resume} would overwrite; use another folder"
        )
    if resume == "never":
        return None
    if not Path(resume).is_file():
        raise TrainingError(f"--resume {resume}: no such file; use auto, never or a checkpoint")
    # The weights with the best score so far are in another folder.
    checkpoint = read_checkpoint(Path(resume))
    return _fill_recipe(replace(checkpoint, kept_from=len(checkpoint.scores)))


def _fill_recipe(checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Add the keys that the recipe of an earlier version lacks."""
    if checkpoint is None:
        return None
    inputs = replace(checkpoint.inputs, recipe=fill_defaults(checkpoint.inputs.recipe))
    return replace(checkpoint, inputs=inputs)


def common_precision(ranks: Ranks) -> str:
    """bfloat16 if it is fast on the devices of all ranks, otherwise float32."""
    found = ranks.gather(precision_name(choose_precision("auto", ranks.device)))
    return "bfloat16" if set(found) == {"bfloat16"} else "float32"


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Create a run's folder and lock it; remove it at the end if it is still empty.

    Raises:
        OutputError: The folder cannot be written, or another run uses it.
        TrainingError: See `create_run_folder`.
    """
    created = create_run_folder(folder)
    with locked(folder / LOCK_NAME, folder):
        try:
            yield
        finally:
            if created and {entry.name for entry in folder.iterdir()} == {LOCK_NAME}:
                (folder / LOCK_NAME).unlink()
                folder.rmdir()


def create_run_folder(folder: Path) -> bool:
    """Create a run's folder if it does not exist; returns whether it did not.

    Raises:
        OutputError: The folder cannot be written.
        TrainingError: The folder holds a model but no run, and the model would be overwritten.
    """
    check_parent(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; use a folder")
    run = any((folder / name).exists() for name in (LOCK_NAME, CHECKPOINT_NAME))
    if (folder / CARD_NAME).exists() and not run:
        raise TrainingError(f"{folder} holds a model, but no run to resume; use another folder")
    created = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    return created
