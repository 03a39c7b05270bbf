import json

from tests.cli.test_cli import decametre


def test_mtf_measures_the_coarse_bands(sample_item):
    done = decametre("info", sample_item, "--mtf")
    assert done.returncode == 0, done.stderr
    rows = done.stdout.split("measured against the 10 m bands")[1].strip().splitlines()
    assert len(rows) == 8
    assert "nominal 0.32, 324 squares" in rows[4]
    found = json.loads(decametre("info", sample_item, "--mtf", "--json").stdout)["mtf_at_nyquist"]
    assert found["B8A"]["low"] < found["B8A"]["gain"] < found["B8A"]["high"]
    assert f"{found['B8A']['gain']:.2f} (" in rows[4]


def test_without_mtf_no_pixel_is_read(sample_item):
    assert "mtf" not in decametre("info", sample_item, "--json").stdout
