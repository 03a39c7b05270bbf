"""Score land-cover models."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from decametre.api.arguments import PathLike, Progress, unique
from decametre.landcover.evaluation import evaluation_job
from decametre.landcover.evaluation.results import LandCoverEvaluation


def evaluate_land_cover(
    store: PathLike,
    model: PathLike | Sequence[PathLike],
    *,
    split: str = "test",
    thresholds: str = "card",
    tune_on: PathLike | None = None,
    keep_thresholds: bool = False,
    device: str = "auto",
    out: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress = lambda done, total, patches: None,
) -> LandCoverEvaluation:
    """Score land-cover models on a split of a store of patches; docs/landcover.md defines all.

    Under torchrun or srun, all processes of the job classify, and the first alone writes.

    Args:
        store: The store.
        model: Folders of models.
        split: `train`, `validation`, `test`, or `all`. A store without splits is taken whole.
        thresholds: `card`: those that the model's card holds, 0.5 where it holds none. `fixed`:
            0.5. Or tuned on a validation split, `global` or `per_class`.
        tune_on: The store whose validation split they are tuned on; `store` without.
        keep_thresholds: Write tuned thresholds into the models' cards.
        device: `auto` (a GPU, else the processor), `cpu`, `cuda` or `cuda:N`.
        out: A folder to make, with `scores.json`, `scores.csv`, `scores.md` and `figures/`.
        overwrite: Replace an earlier evaluation in `out`.
        progress: Called with patches classified, all patches, and patches classified, of this
            process.

    Returns:
        All scores; `decametre.landcover.evaluation.tables` shows them.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    given = [model] if isinstance(model, str | os.PathLike) else list(model)
    words = ["decametre", "landcover", "evaluate", os.fspath(store)]
    for folder in given:
        words += ["--model", os.fspath(folder)]
    words += ["--split", split, "--thresholds", thresholds]
    if tune_on is not None:
        words += ["--tune-on", os.fspath(tune_on)]
    if out is not None:
        words += ["--out", os.fspath(out)]
    request = evaluation_job.Request(
        store=Path(store),
        models=[Path(folder) for folder in given],
        labels=unique(Path(folder).absolute().name for folder in given),
        split=split,
        thresholds=thresholds,
        tune_on=Path(store if tune_on is None else tune_on),
        keep_thresholds=keep_thresholds,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        command=shlex.join(words),
    )
    return evaluation_job.evaluate(request, device, progress)
