"""Write the files of an evaluation of land cover."""

from __future__ import annotations

from decametre.io.result_folder import ResultFolder
from decametre.landcover.evaluation import tables
from decametre.landcover.evaluation.figures import draw_classes, draw_confusion
from decametre.landcover.evaluation.results import LandCoverEvaluation


def write_evaluation(evaluation: LandCoverEvaluation, folder: ResultFolder) -> None:
    """Write scores and figures."""
    draw_classes(evaluation, folder)
    draw_confusion(evaluation, folder)
    folder.write_scores(
        tables.markdown(evaluation), tables.csv_text(evaluation), tables.json_text(evaluation)
    )
