"""Write the files of an evaluation."""

from __future__ import annotations

import re

from decametre.io.result_folder import ResultFolder
from decametre.superres.evaluation import tables
from decametre.superres.evaluation.comparison import Crop
from decametre.superres.evaluation.figures import draw_bars, draw_scene
from decametre.superres.evaluation.results import Evaluation


def write_crop(crop: Crop, folder: ResultFolder) -> None:
    """Write the picture of a scene."""
    # A product's name may contain any character, but the file must be in this folder.
    name = re.sub(r"[^\w.@#-]", "_", crop.scene)
    draw_scene(crop, folder.figures / f"scene_{name}.png")


def write_evaluation(evaluation: Evaluation, folder: ResultFolder) -> None:
    """Write scores and bars."""
    draw_bars(evaluation, folder)
    folder.write_scores(
        tables.markdown(evaluation), tables.csv_text(evaluation), tables.json_text(evaluation)
    )
