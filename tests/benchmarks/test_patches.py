import pytest

from benchmarks.patches import run

pytestmark = pytest.mark.benchmark


def test_all_is_measured(sample_item, tmp_path):
    report = run(sample_item, tmp_path, size=720, workers=2)
    assert [cutting.images for cutting in report.cuttings] == [
        "native",
        "sharpened",
        "native and sharpened",
    ]
    for cutting in report.cuttings:
        assert cutting.patches == 36
        assert cutting.rate > 0
        assert cutting.written_gb > 36 * 160_000 / 1e9
    assert report.to_dict()["cuttings"][0]["patches_per_second"] == report.cuttings[0].rate
    assert "| native | 36 |" in report.table()
    # What is made once is kept; stores are not.
    assert [path.name for path in tmp_path.iterdir()] == ["dsen2_T33UUB_720"]
