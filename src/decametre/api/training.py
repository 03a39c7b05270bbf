"""Train a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decametre.api.arguments import PathLike, Progress
from decametre.recipes import training_job
from decametre.recipes.reading import read_recipe


def train(
    recipe: PathLike,
    out: PathLike | None = None,
    *,
    train: Sequence[str] = (),
    validation: Sequence[str] = (),
    init: str | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    resume: str = "auto",
    progress: Progress = lambda done, total, samples: None,
) -> training_job.TrainingResult:
    """Train a network by a recipe, or go on where a run in the same folder stopped.

    Under torchrun or srun, all processes of the job train together.

    Args:
        recipe: A YAML file, or the name of a shipped recipe such as `native_2x`.
        out: The run's folder: the model with the best validation score, the checkpoint, a log,
            TensorBoard events and pictures. The recipe's name without.
        train: Products, or patterns of paths, to train on, in place of the recipe's.
        validation: Products, or patterns, to choose the weights by, in place of the recipe's.
        init: Name or folder of a model whose weights the network starts with.
        settings: Other values for keys of the recipe, such as `{"optimization.steps": 2000}`.
        device: `auto` (a GPU, else the processor), `cpu`, `cuda` or `cuda:N`.
        precision: `auto` (bfloat16 where the device is fast at it), `float32` or `bfloat16`.
        resume: `auto` (from the newest checkpoint in `out`, if any), `never`, or the path of a
            checkpoint.
        progress: Called with the steps done, all steps, and the samples seen.

    Returns:
        The model's folder and its card.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    checked = read_recipe(os.fspath(recipe), settings, train, validation)
    folder = Path(checked.name if out is None else out)
    return training_job.run(checked, folder, init, device, precision, resume, progress)
