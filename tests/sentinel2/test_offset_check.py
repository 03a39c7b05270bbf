"""Right and wrong offsets of a real product."""

import dataclasses

import numpy as np
import pytest

import decametre
from decametre.errors import CorruptDataError
from decametre.sentinel2 import offset_check
from decametre.sentinel2.offset_check import check_offset, judge


def test_the_right_offset_agrees(sample):
    check = check_offset(sample)
    assert check.verdict == "agrees"
    assert check.evidence.startswith("the darkest 0.5 % of B")


@pytest.mark.parametrize(
    ("offset", "remedy"),
    [
        (-1000, "reflectance is probably 0.1 too low: try --offset none"),
        (1000, "reflectance is probably 0.1 too high: try --offset -1000"),
    ],
)
def test_a_wrong_offset_is_contradicted(sample_item, offset, remedy):
    check = check_offset(decametre.open(sample_item, offset))
    assert check.verdict == "contradicts"
    assert check.evidence.endswith(remedy)


def test_a_product_that_lacks_a_band_cannot_be_judged(sample):
    bands = {name: file for name, file in sample.bands.items() if name != "B11"}
    check = check_offset(dataclasses.replace(sample, bands=bands))
    assert str(check) == "cannot tell: needs B11"


def test_a_band_that_cannot_be_decoded_is_left_to_the_job(sample, monkeypatch):
    def fail(product, names):
        raise CorruptDataError("band B04: cannot read")

    monkeypatch.setattr(offset_check, "_middle", fail)
    assert str(check_offset(sample)) == "cannot tell: band B04: cannot read"


def images(**values):
    """Uniform bands of reflectance."""
    names = ("B01", "B03", "B04", "B8A", "B09", "B11", "B12")
    return {name: np.full((50, 50), values.get(name, 0.3), np.float32) for name in names}


def test_bright_ground_shows_nothing():
    assert judge(images(), "L1C").verdict == "cannot tell"


def test_nothing_dark_but_water_is_too_bright():
    water = images(B03=0.14, B04=0.13, B8A=0.11, B09=0.11, B11=0.105, B12=0.1)
    check = judge(water, "L2A")
    assert check.verdict == "contradicts"
    assert "there is water, whose B12 is 0.100" in check.evidence


def test_dark_sky_on_level_1c_is_too_low():
    dark_sky = images(B01=0.03)
    assert "less than the sky alone" in judge(dark_sky, "L1C").evidence
    assert judge(dark_sky, "L2A").verdict == "agrees"


def test_gaps_are_no_evidence():
    assert judge({name: image * np.nan for name, image in images().items()}, "L1C").verdict == (
        "cannot tell"
    )


def test_sharpening_warns_and_writes_the_card(sample_item, tmp_path, caplog):
    output = tmp_path / "a.tif"
    how = {"window": (0, 0, 60, 60), "model": "bicubic", "self_check": False}
    result = decametre.sharpen(sample_item, output, offset=-1000, **how)
    assert result.quality["product"]["offset_check"].startswith("contradicts: ")
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert any("--offset none" in record.getMessage() for record in warnings)
