"""One training run: a recipe in, a model folder out."""

from __future__ import annotations

import fcntl
import logging
from dataclasses import dataclass
from pathlib import Path

from decametre.errors import TrainingError
from decametre.inference.device import choose_devices, choose_precision
from decametre.models.card import CARD_NAME, Card, read_card
from decametre.training.loop import Progress, fit
from decametre.training.recipe import Recipe
from decametre.training.super_resolution import SuperResolution

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a training run left.

    Attributes:
        folder: The model folder, which `sharpen` takes.
        card: Of the weights with the best validation score.
    """

    folder: Path
    card: Card

    def summary(self) -> str:
        """The best score and its step, in words."""
        scores, step = self.card.scores, self.card.training["step"]
        return (
            f"RMSE {scores['rmse_ratio_to_bicubic']:.4f} of bicubic on the validation products "
            f"({scores['protocol']}), at step {step}"
        )


def run(
    recipe: Recipe,
    folder: Path,
    init: str | None,
    device: str,
    precision: str,
    progress: Progress,
) -> TrainingResult:
    """Train a recipe's network in a folder, or go on where a run there stopped.

    Args:
        recipe: The run.
        folder: Made where it does not exist; its parent must.
        init: Name or folder of a model to start from.
        device: See `inference.device.choose_devices`; of several, the first.
        precision: See `inference.device.choose_precision`.
        progress: See `loop.Progress`.

    Returns:
        The folder and the card of the best weights.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    chosen = choose_devices(device)[0]
    dtype = choose_precision(precision, chosen)
    log.info("%s in %s on %s", recipe.name, str(dtype).removeprefix("torch."), chosen)
    task = SuperResolution(recipe, init, chosen, dtype)
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainingError(f"{folder}: another run is at work there") from error
        fit(task, recipe, folder, progress)
    return TrainingResult(folder, read_card(folder / CARD_NAME))
