"""Each kind of input is run and measured; its speed is not tested."""

import json

import pytest

from benchmarks import patches, predict
from decametre.superres.models.registry import models_for

pytestmark = pytest.mark.benchmark


def test_all_is_measured(sample_item, tmp_path, monkeypatch):
    # The model does not matter here; bicubic interpolation is fast.
    monkeypatch.setattr(predict, "DEFAULT_FAMILY", "bicubic")
    monkeypatch.setattr(patches, "models_for", lambda bands: models_for(bands, ["bicubic"]))
    report = predict.run(sample_item, tmp_path, size=720, backbone="test_resnet")
    alone, maps = report.runs[:2], report.runs[2:]
    assert [each.name for each in maps] == [
        "`predict`, measured",
        "`predict`, tile",
        "`predict`, on-the-way",
    ]
    for each in maps:
        assert each.patches == 36
        assert 0.1 < each.peak_memory_gb < 4
    for each in (*alone, *maps):
        assert each.rate > 0
        assert each.cpu_seconds > 0
    assert json.loads(json.dumps(report.to_dict()))["runs"][0]["patches_per_second"] > 0
    assert "| `predict`, tile | 36 |" in report.table()
    # The synthetic product is kept; models and maps are not.
    assert [path.name for path in tmp_path.iterdir()] == ["dsen2_T33UUB_720"]
