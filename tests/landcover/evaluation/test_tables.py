import csv
import io
import json
import math

import numpy as np
import pytest

from decametre.landcover.evaluation.results import LandCoverEvaluation, score_classifier
from decametre.landcover.evaluation.tables import (
    averages,
    csv_text,
    f1_per_class,
    json_text,
    markdown,
    per_class,
    tables,
)
from decametre.landcover.metrics.thresholds import Thresholds, fixed, from_record
from tests.landcover.metrics.multilabel_samples import predictions
from tests.landcover.metrics.test_scores import BY_HAND

NAMES = ("water", "forest | wood", "snow")


@pytest.fixture
def evaluation():
    """The samples by hand, one more without a class, and a model that never predicts forest."""
    samples = predictions(
        np.vstack([BY_HAND.scores, [[0, 0, 0]]]), np.vstack([BY_HAND.truth, [[0, 0, 0]]])
    )
    tuned = Thresholds("per_class", (0.45, 0.95, 0.5), untuned=(2,))
    return LandCoverEvaluation(
        command="decametre landcover evaluate patches.h5",
        store="patches.h5",
        split="test",
        nomenclature="three",
        class_names=NAMES,
        models=(
            score_classifier("rgb", "resnet50_rgb", "12ab", samples, fixed(3)),
            score_classifier("all", "resnet50_12", "34cd", samples, tuned),
        ),
    )


def test_averages_as_table_2(evaluation):
    found = averages(evaluation)
    assert found.head == ["average", "model", "P", "R", "F1", "AP"]
    assert [row[:2] for row in found.rows[:3]] == [
        ["micro", "rgb"],
        ["micro", "all"],
        ["macro", "rgb"],
    ]
    assert found.rows[0][2:5] == ["0.6000", "0.6000", "0.6000"]
    assert found.rows[2][2:] == ["0.7500", "0.5833", "0.6500", "0.8750"]
    assert found.rows[-1][:2] == ["samples", "all"]
    assert found.rows[-1][-1] == "-"


def test_classes_as_table_3(evaluation):
    found = f1_per_class(evaluation)
    assert found.head == ["class", "support", "F1 (rgb)", "F1 (all)"]
    assert found.rows == [
        ["water", "3", "0.8000", "0.8000"],
        ["forest | wood", "2", "0.5000", "0.0000"],
        ["snow", "0", "-", "-"],
    ]


def test_all_of_a_model(evaluation):
    found = per_class(evaluation, evaluation.models[1])
    assert found.title == "all: thresholds tuned for the F1 of each class on the validation split"
    assert found.rows[0][:5] == ["water", "3", "2", "0.4500", "1.0000"]
    assert found.rows[2] == ["snow", "0", "1", "0.5000", "-", "-", "-", "-"]
    assert per_class(evaluation, evaluation.models[0]).title == "rgb: threshold 0.5000, fixed"
    assert len(tables(evaluation)) == 4


def test_excluded_classes_and_patches_are_reported(evaluation):
    found = markdown(evaluation)
    assert found.startswith("# Land cover\n\n```\ndecametre landcover evaluate patches.h5\n```\n")
    assert "5 patches of split 'test' of patches.h5, 3 classes (three)." in found
    assert "* 1 class (snow) without a patch: excluded from macro and weighted averages.\n" in found
    assert "* 1 patch without a class: excluded from the averages over samples.\n" in found
    assert "* all never predicts 1 class (forest | wood): precision and F1 count as 0.\n" in found
    assert "* all has the threshold 0.5 for 1 class (snow): nothing to tune on.\n" in found
    assert "rgb never predicts" not in found
    assert "forest \\| wood" in found


def test_json_holds_everything(evaluation):
    found = json.loads(json_text(evaluation))
    assert found["classes_without_support"] == ["snow"]
    assert (found["samples"], found["samples_without_class"]) == (5, 1)
    model = found["models"]["all"]
    assert model["classes_never_predicted"] == ["forest | wood"]
    assert model["averages"]["samples"]["average_precision"] is None
    assert model["classes"]["snow"]["f1"] is None
    assert model["classes"]["water"]["support"] == 3
    stored = from_record(model["thresholds"], NAMES, "scores.json")
    assert stored == evaluation.models[1].thresholds
    matrix = np.array(model["confusion"]["values"])
    assert np.array_equal(matrix, evaluation.models[1].confusion)
    assert len(model["confusion"]["rows_true_columns_predicted"]) == len(matrix) == 4


def test_csv_has_a_line_a_number(evaluation):
    rows = list(csv.DictReader(io.StringIO(csv_text(evaluation))))
    assert len(rows) == 2 * (4 * 4 + 3 * 7)
    found = {tuple(row.values())[:4]: float(row["value"]) for row in rows}
    micro = evaluation.models[0].scores.averages["micro"]
    assert found["rgb", "average", "micro", "f1"] == micro.f1
    assert found["all", "class", "water", "support"] == 3
    assert math.isnan(found["all", "class", "snow", "recall"])


def test_models_must_have_seen_the_same(evaluation):
    one, other = evaluation.models
    fewer = score_classifier("fewer", "x", "", BY_HAND, fixed(3))
    for models, message in (((one, fewer), "other samples"), ((other, other), "one label")):
        with pytest.raises(ValueError, match=message):
            LandCoverEvaluation("", "", "", "", NAMES, models)
    with pytest.raises(ValueError, match="3 classes"):
        LandCoverEvaluation("", "", "", "", NAMES[:2], (one,))
