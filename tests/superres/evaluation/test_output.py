import csv
import shutil

import numpy as np
import pytest
import rasterio
import torch

import decametre
from decametre.errors import OutputError
from decametre.io.result_folder import result_folder
from decametre.superres.evaluation.comparison import Crop
from decametre.superres.evaluation.figures import draw_scene
from decametre.superres.evaluation.output import write_crop


@pytest.fixture
def run(sample):
    def run(out, **options):
        return decametre.evaluate(sample, window=(0, 0, 120, 120), out=out, **options)

    return run


@pytest.fixture(scope="module")
def scores(sample, tmp_path_factory):
    """A complete result folder, and the evaluation that it holds."""
    out = tmp_path_factory.mktemp("evaluation") / "scores"
    out.mkdir()
    return out, decametre.evaluate(sample, window=(0, 0, 120, 120), out=out, model="bicubic")


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_folder_is_complete(scores):
    out, found = scores
    assert names(out.parent) == [
        "scores/figures/per_band.csv",
        "scores/figures/per_band.png",
        "scores/figures/scene_dsen2_T33UUB.png",
        "scores/scores.csv",
        "scores/scores.json",
        "scores/scores.md",
    ]
    with (out / "figures" / "per_band.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 6
    assert rows[0] | {"value": float(rows[0]["value"])} == {
        "metric": "RMSE",
        "band": "B05",
        "model": "bicubic",
        "value": found.band_mean("bicubic", "RMSE", "B05"),
    }


def test_an_existing_folder_is_only_replaced_with_overwrite(run, scores, tmp_path):
    out = shutil.copytree(scores[0], tmp_path / "scores")
    with pytest.raises(OutputError, match="overwrite=True"):
        run(out)
    (out / "figures" / "old.png").touch()
    run(out, overwrite=True, model="regression")
    assert "regression_2x" in (out / "scores.csv").read_text()
    assert not (out / "figures" / "old.png").exists()


def test_a_folder_with_other_files_is_not_replaced(run, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"contains 'notes\.txt'"):
        run(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        run(tmp_path / "notes.txt", overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        run(tmp_path / "no" / "folder")
    assert names(tmp_path) == ["notes.txt"]


def test_a_failed_run_keeps_the_earlier_folder(scores, tmp_path):
    out = shutil.copytree(scores[0], tmp_path / "scores")
    before = (out / "scores.json").read_bytes()

    def interrupted():
        with result_folder(out, overwrite=True) as folder:
            (folder.path / "scores.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
    assert (out / "scores.json").read_bytes() == before


def test_a_scene_name_cannot_escape_the_folder(tmp_path):
    image = {"B01": torch.rand(12, 12)}
    with result_folder(tmp_path / "scores", overwrite=False) as folder:
        write_crop(Crop("../../x y", image, {"bicubic": image}), folder)
    assert names(tmp_path) == ["scores/figures/scene_.._.._x_y.png"]


def test_gaps_and_missing_bands_can_be_drawn(tmp_path):
    truth = {band: torch.rand(20, 30) for band in ("B01", "B09")}
    truth["B01"][:] = float("nan")
    predicted = {
        "bicubic": {band: image + 0.1 for band, image in truth.items()},
        "other": {"B09": truth["B09"]},
    }
    draw_scene(Crop("torn", truth, predicted), tmp_path / "x.png")
    with rasterio.open(tmp_path / "x.png") as picture:
        pixels = picture.read()[:3].reshape(3, -1)
    # The band without a measurement is grey, in the truth and in bicubic and its error.
    assert (pixels == round(0.6 * 255)).all(axis=0).sum() > 5000
    assert len(np.unique(pixels, axis=1).T) > 100
