"""The folder that an evaluation of land cover leaves; `output.result_folder` keeps it whole."""

from __future__ import annotations

from decametre.landcover.evaluation import tables
from decametre.landcover.evaluation.figures import draw_classes, draw_confusion
from decametre.landcover.evaluation.results import LandCoverEvaluation
from decametre.superres.evaluation.output import ResultFolder


def write(evaluation: LandCoverEvaluation, folder: ResultFolder) -> None:
    """Write scores and figures.

    Args:
        evaluation: All of it.
        folder: Open since before the work began, so that a name that cannot be written costs none.
    """
    draw_classes(evaluation, folder.figures)
    draw_confusion(evaluation, folder.figures)
    for name, content in (
        ("scores.md", tables.markdown(evaluation)),
        ("scores.csv", tables.csv_text(evaluation)),
        ("scores.json", tables.json_text(evaluation) + "\n"),
    ):
        (folder.path / name).write_text(content, encoding="utf-8")
