"""Score land-cover models."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from decametre.api.evaluation import numbered
from decametre.api.keywords import takes
from decametre.io.result_folder import check_result_folder
from decametre.landcover.evaluation.options import LandCoverEvaluateOptions
from decametre.options import PathLike, words_of
from decametre.progress import Progress, silent

if TYPE_CHECKING:
    from decametre.landcover.evaluation.results import LandCoverEvaluation


@takes(LandCoverEvaluateOptions, positional=("model",))
def evaluate_land_cover(
    store: PathLike, options: LandCoverEvaluateOptions, *, progress: Progress = silent
) -> LandCoverEvaluation:
    """Score land-cover models on a split of a store of patches; see docs/landcover.md.

    Under torchrun or srun, all processes of the job classify, and the first one writes.

    Args:
        store: The store.
        progress: Called with the patches classified, all patches, and the patches classified, each
            for this process.

    Returns:
        All scores; `decametre.landcover.evaluation.tables` formats them.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    from decametre.landcover.patches.store import PatchStore

    for path in {store, options.tune_on or store}:
        PatchStore(path)
    if options.out is not None:
        check_result_folder(options.out, overwrite=options.overwrite)
    # Imported here: torch takes seconds, which a wrong argument should not cost.
    from decametre.landcover.evaluation import evaluation_job

    always, exclude = ("split", "thresholds"), ("keep_thresholds", "device", "overwrite")
    words = words_of(options, always=always, exclude=exclude)
    request = evaluation_job.Request(
        store=Path(store),
        models=options.model,
        labels=numbered(folder.absolute().name for folder in options.model),
        split=options.split,
        thresholds=options.thresholds,
        tune_on=options.tune_on or Path(store),
        calibrate=options.calibrate,
        keep_thresholds=options.keep_thresholds,
        out=options.out,
        overwrite=options.overwrite,
        command=shlex.join(["decametre", "landcover", "evaluate", os.fspath(store), *words]),
    )
    return evaluation_job.evaluate(request, options.device, progress)
