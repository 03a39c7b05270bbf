"""A rank of the runs of `benchmarks/faults.py`.

    python -m benchmarks.fault_rank FOLDER STEPS ON_FAILURE

It appends the time and the number of each step that ends to `FOLDER/steps/RANK-PROCESS.txt`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.fault_task import Points, fault_recipe
from decametre.progress import silent
from decametre.training.checkpoint import read_newest_checkpoint
from decametre.training.elastic import join_elastic_ranks
from decametre.training.launcher import read_rank_info
from decametre.training.loop import fit
from decametre.training.observer import StepTimes, TrainingObserver
from decametre.training.supervisor import is_supervised, supervise

VALIDATE_EVERY = 100
"""Steps between two checkpoints."""

PAUSE = 0.02
"""Seconds of a step, most of which pass in the preparation of its samples."""


class StepRecorder(TrainingObserver):
    """Writes down when steps end.

    Args:
        path: File for the records.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", buffering=1)

    def step_ended(self, times: StepTimes) -> None:
        """Write the time and the number of a step."""
        self.file.write(f"{time.time():.3f} {times.step}\n")


def main(folder: Path, steps: int, on_failure: str) -> None:
    """Take part in a run."""
    info = read_rank_info()
    if not is_supervised():
        raise SystemExit(supervise(str(info)))
    recipe = fault_recipe(VALIDATE_EVERY)
    together = on_failure == "restart"
    with join_elastic_ranks(info, "cpu", folder, folder / ".lock", together=together) as ranks:
        task = Points(steps, recipe, PAUSE)
        checkpoint = None
        if not ranks.joins_late:
            checkpoint = ranks.attempt(lambda: ranks.broadcast(read_newest_checkpoint(folder)))
        recorder = StepRecorder(folder / "steps" / f"{info.rank}-{os.getpid()}.txt")
        fit(task, recipe, folder, silent, ranks, checkpoint, recorder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
