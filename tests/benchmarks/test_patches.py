import pytest

from benchmarks.patches import run

pytestmark = pytest.mark.benchmark


def test_all_is_measured(sample_item, tmp_path):
    report = run(sample_item, tmp_path, size=720, workers=2)
    assert [each.name for each in report.runs] == [
        "native",
        "sharpened",
        "native and sharpened",
    ]
    for each in report.runs:
        assert each.patches == 36
        assert each.rate > 0
        assert each.written_gb > 36 * 160_000 / 1e9
    assert report.to_dict()["runs"][0]["patches_per_second"] == report.runs[0].rate
    assert "| native | 36 |" in report.table()
    # The synthetic product is kept; stores are not.
    assert [path.name for path in tmp_path.iterdir()] == ["dsen2_T33UUB_720"]
