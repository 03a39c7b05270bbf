"""One training run: a recipe in, a model folder out."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from decametre.device import choose_precision
from decametre.errors import TrainingError
from decametre.landcover.models.card import LandCoverCard
from decametre.model_folder import CARD_NAME
from decametre.recipes.reading import AnyRecipe, fill_defaults
from decametre.recipes.tasks import build_task, read_trained_card, summarise_card
from decametre.superres.models.card import Card
from decametre.training.checkpoint import (
    CHECKPOINT_NAME,
    Checkpoint,
    RunInputs,
    check_same_run,
    read_checkpoint,
    read_newest_checkpoint,
)
from decametre.training.launcher import read_rank_info
from decametre.training.loop import ProgressCallback, fit
from decametre.training.ranks import Ranks, join_ranks

log = logging.getLogger(__name__)

LOCK_NAME = ".lock"


@dataclass(frozen=True)
class TrainingResult:
    """What a training run left.

    Attributes:
        folder: The model folder, which `sharpen` or `landcover` takes.
        card: Of the weights with the best validation score.
    """

    folder: Path
    card: Card | LandCoverCard

    def summary(self) -> str:
        """The best validation score and its step, in words."""
        return summarise_card(self.card)


def run(
    recipe: AnyRecipe,
    folder: Path,
    init: str | None,
    device: str,
    precision: str,
    resume: str,
    progress: ProgressCallback,
) -> TrainingResult:
    """Train a recipe's network in a folder, or go on where a run there stopped.

    Args:
        recipe: The run.
        folder: Made where it does not exist; its parent must.
        init: Name or folder of a model to start from.
        device: See `ranks.joined`.
        precision: See `inference.device.choose_precision`.
        resume: See `find_checkpoint`.
        progress: See `loop.Progress`.

    Returns:
        The folder and the card of the best weights.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    place = read_rank_info()
    try:
        with (
            join_ranks(place, device) as ranks,
            lock_run_folder(folder) if ranks.is_first else nullcontext(),
        ):
            return _train(recipe, folder, init, precision, resume, progress, ranks)
    except Exception as error:
        if place.size > 1:
            error.add_note(str(place))
        raise


def _train(
    recipe: AnyRecipe,
    folder: Path,
    init: str | None,
    precision: str,
    resume: str,
    progress: ProgressCallback,
    ranks: Ranks,
) -> TrainingResult:
    saved = ranks.broadcast(find_checkpoint(folder, resume) if ranks.is_first else None)
    if saved is not None:
        # Now, and not after minutes of reading products; these are compared then.
        now = RunInputs(recipe.model_dump(mode="json"), saved.inputs.extra)
        check_same_run(saved.inputs, now, folder)
    if precision == "auto":
        # Found by timing, which comes out differently each time: once for all of a run.
        known = saved.inputs.extra.get("precision") if saved is not None else None
        precision = known or common_precision(ranks)
    dtype = choose_precision(precision, ranks.device)
    log.info("%s in %s on %s", recipe.name, precision_name(dtype), ", ".join(ranks.devices))
    fit(build_task(recipe, init, ranks.device, dtype), recipe, folder, progress, ranks, saved)
    return TrainingResult(
        folder, ranks.broadcast(read_trained_card(recipe, folder) if ranks.is_first else None)
    )


def find_checkpoint(folder: Path, resume: str) -> Checkpoint | None:
    """The checkpoint to go on from.

    Args:
        folder: The run's folder.
        resume: `auto`: the newest one there, if any. Else there must be none: `never`, or the path
            of a checkpoint.

    Raises:
        TrainingError: It is damaged or missing, or there is one that would be overwritten.
    """
    if resume == "auto":
        return _with_defaults(read_newest_checkpoint(folder))
    if (folder / CHECKPOINT_NAME).exists():
        raise TrainingError(
            f"{folder} holds a run, which --resume {resume} would write over; give another folder"
        )
    if resume == "never":
        return None
    if not Path(resume).is_file():
        raise TrainingError(f"--resume {resume}: no such file; give auto, never or a checkpoint")
    # The best weights so far lie in another folder.
    saved = read_checkpoint(Path(resume))
    return _with_defaults(replace(saved, kept_from=len(saved.scores)))


def _with_defaults(saved: Checkpoint | None) -> Checkpoint | None:
    """Fill in the keys that an earlier version's recipe lacks."""
    if saved is None:
        return None
    return replace(saved, inputs=replace(saved.inputs, recipe=fill_defaults(saved.inputs.recipe)))


def common_precision(ranks: Ranks) -> str:
    """bfloat16 where all ranks are fast at it."""
    found = ranks.gather(precision_name(choose_precision("auto", ranks.device)))
    return "bfloat16" if set(found) == {"bfloat16"} else "float32"


def precision_name(precision: torch.dtype) -> str:
    """`float32` of `torch.float32`."""
    return str(precision).removeprefix("torch.")


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made; one that stays empty is removed again.

    Raises:
        TrainingError: It cannot be written, another run is at work there, or it holds a model that
            is no run's, which must not be overwritten.
    """
    path = folder / LOCK_NAME
    try:
        if not folder.parent.is_dir():
            raise TrainingError(f"{folder}: folder {folder.parent} does not exist; make it first")
        if folder.exists() and not folder.is_dir():
            raise TrainingError(f"{folder} is a file; give a folder")
        run = any((folder / name).exists() for name in (LOCK_NAME, CHECKPOINT_NAME))
        if (folder / CARD_NAME).exists() and not run:
            raise TrainingError(f"{folder} holds a model, and no run to go on; give another folder")
        made = not folder.exists()
        folder.mkdir(exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"{folder}: another run is at work there") from error
        try:
            yield
        finally:
            if made and {entry.name for entry in folder.iterdir()} == {LOCK_NAME}:
                path.unlink()
                folder.rmdir()
