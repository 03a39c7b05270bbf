"""Train a network."""

from __future__ import annotations

import os
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.keywords import takes
from decametre.options import PathLike
from decametre.progress import Progress, silent
from decametre.recipes.options import TrainOptions
from decametre.sentinel2.source_check import check_source
from decametre.training.launcher import read_rank_info

if TYPE_CHECKING:
    from decametre.recipes.training_job import TrainingResult


@takes(TrainOptions, positional=("out",))
def train(
    recipe: PathLike, options: TrainOptions, *, progress: Progress = silent
) -> TrainingResult:
    """Train a network as described in a recipe, or resume a run in the same folder.

    Under torchrun or srun, all processes of the job train together.

    Args:
        recipe: A YAML file, or the name of a shipped recipe such as `native_2x`.
        progress: Called with the steps completed, all steps, and the samples seen.

    Returns:
        The folder of the model and its card.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    from decametre.recipes.reading import read_recipe

    changes = options.settings
    checked = read_recipe(os.fspath(recipe), changes, options.train, options.validation)
    # The other ranks of a job would wait for one that ends before it has joined them.
    if read_rank_info().size == 1:
        for source in (*checked.data.train, *checked.data.validation):
            if not has_magic(source):
                check_source(source)
    # Imported here: torch takes seconds, which a wrong argument should not cost.
    from decametre.recipes import training_job

    return training_job.run(
        checked,
        options.out or Path(checked.name),
        options.init,
        options.device,
        options.precision,
        options.resume,
        progress,
    )
