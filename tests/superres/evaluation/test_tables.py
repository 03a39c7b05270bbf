import csv
import io
import json
import math

import pytest

from decametre.io.tables import Table
from decametre.superres.evaluation.metrics import METRICS
from decametre.superres.evaluation.results import (
    Evaluation,
    FullScaleIndices,
    FullScaleScores,
    MethodInfo,
    SceneScores,
)
from decametre.superres.evaluation.tables import csv_text, json_text, markdown, tables, text

BANDS = ("B01", "B09")


def scores(**rmse):
    """Scores whose values are the RMSE's, but for what belongs to all bands."""
    return {
        metric.name: dict(rmse) if metric.per_band else {"all": sum(rmse.values())}
        for metric in METRICS
    }


@pytest.fixture
def evaluation():
    scenes = (
        SceneScores(
            "a",
            {"B01": 9, "B09": 9},
            {"bicubic": scores(B01=10.0, B09=30.0), "mine": scores(B01=1.0, B09=3.0)},
        ),
        SceneScores(
            "b|c",
            {"B01": 9, "B09": 0},
            {"bicubic": scores(B01=60.0, B09=math.nan), "mine": scores(B01=0.0, B09=math.nan)},
        ),
    )
    scenes[1].scores["mine"]["PSNR"]["B01"] = math.inf
    return Evaluation(
        command="decametre evaluate a.SAFE b.SAFE",
        scale=6,
        kernel="mtf",
        bands=BANDS,
        methods=(
            MethodInfo("bicubic", "bicubic_6x", BANDS, ""),
            MethodInfo("mine", "native_6x", BANDS, "1234"),
        ),
        scenes=scenes,
        skipped={"d": "too small"},
        full_scale=(
            FullScaleScores(
                "a",
                {"B01": "B02", "B09": "B08"},
                {"B01": 0.5, "B09": 0.7},
                {
                    "bicubic": FullScaleIndices(
                        {"B01": 0.01, "B09": 0.03},
                        {"B01": 0.1, "B09": 0.3},
                        0.02,
                        {"B01": 0.5, "B09": 0.3},
                    ),
                    "mine": FullScaleIndices(
                        {"B01": 0.002, "B09": math.nan},
                        {"B01": 0.6, "B09": 0.8},
                        math.nan,
                        {"B01": 0.1, "B09": math.nan},
                    ),
                },
            ),
        ),
    )


def test_means_by_hand(evaluation):
    # Over bands: 20 and 60, a band without pixels not counting; then over scenes.
    assert evaluation.mean("bicubic", "RMSE") == (20 + 60) / 2
    assert evaluation.mean("mine", "RMSE") == (2 + 0) / 2
    assert evaluation.band_mean("bicubic", "RMSE", "B01") == 35
    assert evaluation.mean("mine", "PSNR") == math.inf
    # The published form sums RMSE over bands and scenes first.
    assert evaluation.ratio("mine") == (1 + 3 + 0) / (10 + 30 + 60)
    assert evaluation.ratio("mine", evaluation.scenes[:1]) == 4 / 40


def test_a_model_of_fewer_bands_is_compared_on_its_bands(evaluation):
    scene = evaluation.scenes[0]
    del scene.scores["mine"]["RMSE"]["B09"]
    assert evaluation.ratio("mine", [scene]) == 1 / 10
    assert math.isnan(evaluation.band_mean("mine", "RMSE", "B09"))


def test_the_summary_has_the_layout_of_published_tables(evaluation):
    summary = tables(evaluation)[0]
    assert [head.split(" ")[0] for head in summary.head[:7]] == [
        "method", "RMSE", "SRE", "SAM", "ERGAS", "SSIM", "PSNR",
    ]  # fmt: skip
    assert [row[0] for row in summary.rows] == ["bicubic", "mine"]
    assert summary.rows[1][1] == "1.0"
    assert summary.rows[1][6] == "inf"
    assert summary.rows[1][-1] == "0.040"


def test_markdown_lines_up_and_escapes():
    lines = Table("T", ["a", "b"], [["x|y", "1.0"], ["z", "10.0"]]).markdown().splitlines()
    assert lines == ["T", "", r"| a    |    b |", "| ---- | ---: |", r"| x\|y |  1.0 |", "| z    | 10.0 |"]  # fmt: skip  # noqa: E501


def test_the_text_explains_the_protocol(evaluation):
    output = text(evaluation)
    assert "kernel mtf, scale 6: 360 to 60 m" in output
    assert "not the error at 10 m" in output
    assert "* d: too small" in output
    assert "| a | 10 m band | B02 | B08 |" in " ".join(output.split())
    # Residuals in percent; what is unknown is a dash.
    (row,) = [line for line in output.splitlines() if line.split()[3:6] == ["mine", "|", "0.20"]]
    assert row.split() == ["|", "a", "|", "mine", "|", "0.20", "|", "-", "|", "0.20", "|"]
    assert markdown(evaluation).splitlines()[3] == evaluation.command


def test_json_has_null_for_nan(evaluation):
    found = json.loads(json_text(evaluation), parse_constant=pytest.fail)
    assert found["scenes"][1]["scores"]["mine"]["PSNR"] == {"B01": None, "B09": None}
    assert found["scenes"][1]["scores"]["mine"]["RMSE"] == {"B01": 0.0, "B09": None}
    assert found["methods"]["mine"]["rmse_ratio_to_bicubic"] == 0.04
    assert found["methods"]["mine"]["mean"]["RMSE"] == 1
    assert found["methods"]["mine"]["mean_per_band"]["RMSE"]["B09"] == 3
    assert found["skipped"] == {"d": "too small"}
    full = found["full_scale"][0]
    assert full["guides"]["B09"] == "B08"
    assert full["consistency_residual"]["mine"] == {"B01": 0.002, "B09": None}
    assert full["d_lambda"] == {"bicubic": 0.02, "mine": None}
    assert full["d_rho"]["bicubic"]["B09"] == 0.3


def test_csv_has_one_line_per_score(evaluation):
    rows = list(csv.DictReader(io.StringIO(csv_text(evaluation))))
    assert len({tuple(row.values())[:4] for row in rows}) == len(rows) == 2 * 2 * (5 * 2 + 3) + 16
    values = {(r["scene"], r["model"], r["band"], r["metric"]): r["value"] for r in rows}
    assert values["b|c", "mine", "B01", "PSNR"] == "inf"
    assert values["a", "mine", "all", "ERGAS"] == "4.0"
    assert values["a", "measured", "B09", "detail_correlation"] == "0.7"
    assert values["a", "mine", "B01", "consistency_residual"] == "0.002"
    assert values["a", "bicubic", "all", "d_lambda"] == "0.02"


def test_qnr_by_hand(evaluation):
    indices = evaluation.full_scale[0].indices
    assert indices["bicubic"].qnr == pytest.approx(0.98 * 0.6)
    assert math.isnan(indices["mine"].qnr)
    table = tables(evaluation)[-1]
    assert table.rows[0] == ["a", "bicubic", "0.0200", "0.5000", "0.3000", "0.4000", "0.5880"]
