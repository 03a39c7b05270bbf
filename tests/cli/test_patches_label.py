"""Command lines and output of `decametre patches label`."""

import rasterio

from tests.cli.test_cli import decametre


def test_label(sample_item, tmp_path):
    done = decametre("patches", "label", sample_item, tmp_path / "a.tif")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "a.tif: Water " in done.stderr
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.shape == (600, 600)


def test_a_mistake_is_one_line(sample_item, tmp_path):
    done = decametre("patches", "label", sample_item, tmp_path / "none" / "a.tif")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("decametre: error: ")
    assert "does not exist; make it first" in line
