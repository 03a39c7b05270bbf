import csv
import dataclasses
import shutil

import matplotlib.image
import numpy as np
import pytest

from decametre.errors import OutputError
from decametre.io.result_folder import ResultFolder, result_folder
from decametre.landcover.evaluation.figures import NAME_WIDTH, draw_confusion, shortened
from decametre.landcover.evaluation.output import write_evaluation
from decametre.landcover.evaluation.results import LandCoverEvaluation, score_classifier
from decametre.landcover.metrics.thresholds import fixed
from tests.landcover.metrics.multilabel_samples import drawn

LONG = "Land principally occupied by agriculture, with significant areas of natural vegetation"


@pytest.fixture(scope="module")
def evaluation():
    samples = drawn()
    samples.truth[:, 2] = 0
    models = tuple(
        score_classifier(label, "resnet50", "", samples, fixed(7, value))
        for label, value in (("../half", 0.5), ("more", 0.3))
    )
    names = (LONG, *"bcdefg")
    return LandCoverEvaluation("decametre ...", "x.h5", "test", "seven", names, models)


@pytest.fixture(scope="module")
def written(evaluation, tmp_path_factory):
    """The folder of the evaluation."""
    out = tmp_path_factory.mktemp("evaluation") / "scores"
    with result_folder(out, overwrite=False) as folder:
        write_evaluation(evaluation, folder)
    return out


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_complete(evaluation, written):
    out = written
    assert names(out.parent) == [
        "scores/figures/confusion.csv",
        "scores/figures/confusion.png",
        "scores/figures/per_class.csv",
        "scores/figures/per_class.png",
        "scores/scores.csv",
        "scores/scores.json",
        "scores/scores.md",
    ]
    found = rows(out / "figures" / "per_class.csv")
    assert len(found) == 2 * 7
    assert found[0]["class"] == LONG
    assert float(found[1]["f1"]) == evaluation.models[0].scores.classes[1].rates.f1
    found = rows(out / "figures" / "confusion.csv")
    assert len(found) == 2 * 8 * 8
    counts = np.array([float(row["count"]) for row in found]).reshape(2, 8, 8)
    assert np.array_equal(counts[1], evaluation.models[1].confusion)
    sums = np.array([float(row["share"]) for row in found]).reshape(2, 8, 8).sum(axis=2)
    assert np.isnan(sums[:, 2]).all()
    assert np.delete(sums, 2, axis=1) == pytest.approx(1)
    with pytest.raises(OutputError, match="--overwrite"), result_folder(out, overwrite=False):
        pass


def test_the_same_scores_give_the_same_bytes(evaluation, written, tmp_path):
    with result_folder(tmp_path / "again", overwrite=False) as folder:
        write_evaluation(evaluation, folder)
    for name in names(written):
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes(), name


def test_a_failure_leaves_the_earlier_folder(evaluation, written, tmp_path):
    out = shutil.copytree(written, tmp_path / "scores")
    before = {name: (out / name).read_bytes() for name in names(out)}
    broken = dataclasses.replace(evaluation, command=None, class_names=(None,) * 7)
    with pytest.raises(AttributeError), result_folder(out, overwrite=True) as folder:
        write_evaluation(broken, folder)
    assert {name: (out / name).read_bytes() for name in names(out)} == before
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_the_confusion_picture_shows_rows_as_they_are(evaluation, tmp_path):
    draw_confusion(evaluation, ResultFolder(tmp_path))
    pixels = matplotlib.image.imread(tmp_path / "figures" / "confusion.png")[..., :3]
    # The class without support is a grey row in both panels.
    grey = (np.abs(pixels - 0.85) < 0.005).all(axis=2)
    assert grey.sum(axis=1).max() > 0.5 * pixels.shape[1] * 0.5
    assert 0.005 < grey.mean() < 0.1


def test_long_names_are_shortened_at_a_word():
    assert shortened(LONG) == "Land principally occupied by ..."
    assert len(shortened(LONG)) <= NAME_WIDTH
    assert shortened("Beaches, dunes, sands") == "Beaches, dunes, sands"
