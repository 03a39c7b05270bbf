"""Every way to a map is run and measured; how fast is not for tests to say."""

import json

from decametre.bench.predict import run


def test_all_is_measured(sample_item, tmp_path):
    report = run(sample_item, tmp_path, size=720, backbone="test_resnet")
    assert [mapped.images for mapped in report.maps] == [
        "bands as measured",
        "a sharpened tile",
        "sharpened on the way",
    ]
    for mapped in report.maps:
        assert mapped.patches == 36
        assert mapped.rate > 0
        assert 0.1 < mapped.peak_memory_gb < 4
    assert min(report.alone.values()) > 0
    assert json.loads(json.dumps(report.to_dict()))["maps"][0]["patches_per_second"] > 0
    assert "| `predict`, a sharpened tile | 36 |" in report.table()
    # What is made once is kept; models and maps are not.
    assert [path.name for path in tmp_path.iterdir()] == ["dsen2_T33UUB_720"]
