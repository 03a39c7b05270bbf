import json

import pytest

from tests.cli.test_cli import assert_one_line_error, decametre
from tests.landcover.evaluation.test_evaluation_job import make_store
from tests.landcover.models.tiny_model import tiny_model

NATIVE = "src/decametre/superres/models/weights/native_2x"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landcover")
    tiny_model(folder / "tiny")
    make_store(folder / "patches.h5", {"validation": 20, "test": 20})
    return folder


def test_predict_writes_a_map_and_reports_its_files(folder, sample_item, tmp_path):
    arguments = ("--model", folder / "tiny", "--stride", "600", "--window", "0,0,180,121")
    done = decametre("landcover", "predict", sample_item, tmp_path / "x.tif", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "window 0,0,180,121 snapped outward to 0,0,180,126" in done.stderr
    assert "2 patches classified, 0 without data" in done.stderr
    left = ["x.classes.tif", "x.classes.tif.aux.xml", "x.geojson", "x.json", "x.tif"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert len(json.loads((tmp_path / "x.geojson").read_text())["features"]) == 2


def test_evaluate_prints_tables_or_one_document(folder):
    arguments = ("landcover", "evaluate", folder / "patches.h5", "--model", folder / "tiny")
    done = decametre(*arguments)
    assert done.returncode == 0, done.stderr
    assert "20 patches of split 'test'" in done.stdout
    assert "threshold 0.5000, fixed" in done.stdout
    tuned = decametre(*arguments, "--thresholds", "global", "--json")
    assert tuned.returncode == 0, tuned.stderr
    found = json.loads(tuned.stdout)
    assert found["models"]["tiny"]["thresholds"]["rule"] == "global"
    assert found["command"].startswith("decametre landcover evaluate ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "{item}", "{out}", "--model", "{folder}/tiny", "--stride", "100"], "stride"),
        (["predict", "{item}", "{out}"], "Missing option '--model'"),
        (["predict", "{item}", "{out}", "--model", NATIVE],
         "super-resolution; give one for scene-classification"),
        (["evaluate", "{folder}/patches.h5", "--model", "{folder}/tiny", "--split", "train"],
         "no patch of split 'train'; it has validation, test"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_and_status_2(arguments, words, folder, sample_item, tmp_path):
    given = [a.format(item=sample_item, out=tmp_path / "x.tif", folder=folder) for a in arguments]
    done = decametre("landcover", *given)
    assert_one_line_error(done, words)
    assert list(tmp_path.iterdir()) == []
