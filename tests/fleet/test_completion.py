"""Comparison of existing results with the requested ones."""

import json
from pathlib import Path

import pytest

from decametre import api
from decametre.bench.synthetic_safe import zip_safe
from decametre.fleet import completion as module
from decametre.fleet.completion import ResultState, item_path, result_state
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import Sharpen
from decametre.superres.sharpening.options import SharpenOptions
from tests.fleet.light import write_item
from tests.support.synthetic_products import make_products

SETTINGS = {"models": {"a": "sha"}, "bands": ["B05"], "quicklook": False}


@pytest.fixture
def source(tmp_path):
    return str(tmp_path / "in" / "X.SAFE")


@pytest.fixture
def entry(source):
    return ProductEntry("X", source)


@pytest.fixture
def item(tmp_path, source):
    """The item of a complete result."""
    (tmp_path / "X").mkdir()
    write_item(source, tmp_path / "X" / "X.tif", SETTINGS)
    return tmp_path / "X" / "X.json"


def change(path, **properties):
    content = json.loads(path.read_text())
    content["properties"] |= properties
    path.write_text(json.dumps(content))


def test_missing_result(tmp_path, entry):
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)
    (tmp_path / "X").mkdir()
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)


def test_complete_result(tmp_path, entry, item):
    assert item == item_path(tmp_path, entry)
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=True)


def test_result_that_was_moved_with_its_input_is_complete(tmp_path, entry, item):
    moved = tmp_path.with_name(f"{tmp_path.name}_moved")
    tmp_path.rename(moved)
    source = entry.source.replace(str(tmp_path), str(moved))
    assert result_state(moved, ProductEntry("X", source), SETTINGS).complete


@pytest.mark.parametrize("content", ["", "{", '{"type": "Fea', "\0\0\0\0"])
def test_damaged_item_is_not_complete(tmp_path, entry, item, content):
    item.write_text(content)
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)


def test_result_without_its_file_is_not_complete(tmp_path, entry, item):
    (tmp_path / "X" / "X.tif").unlink()
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)


@pytest.mark.parametrize(
    "content", ["[]", "null", "{}", '{"assets": {"data": {}}}', '{"assets": {}, "properties": 1}']
)
def test_item_of_another_program_is_a_difference(tmp_path, entry, item, content):
    item.write_text(content)
    assert result_state(tmp_path, entry, SETTINGS).difference == "not a STAC item of decametre"


def test_other_settings(tmp_path, entry, item):
    def difference(**others):
        return result_state(tmp_path, entry, SETTINGS | others).difference

    assert difference(bands=["B05", "B06"]) == "made with bands B05, not B05,B06"
    assert difference(bands=[]) == "made with bands B05, not none"
    assert difference(encoding="dn") == "made with encoding unset, not dn"
    fewer = {key: SETTINGS[key] for key in ("models", "bands")}
    assert result_state(tmp_path, entry, fewer).difference == "made with quicklook false, not unset"


def test_all_different_settings_are_named_and_short_values_are_shown(tmp_path, entry, item):
    def difference(**others):
        return result_state(tmp_path, entry, SETTINGS | others).difference

    assert difference(models={"a": "other"}) == "made with other models"
    assert difference(bands=["B05", "B11"], models={"b": "sha"}) == (
        "made with other models, bands (bands B05, not B05,B11)"
    )
    assert difference(bands=["B11"], quicklook=True) == (
        "made with other bands, quicklook (bands B05, not B11; quicklook false, not true)"
    )
    assert difference(bands=["a name that is long"] * 9) == "made with other bands"


def test_changed_list_is_named(tmp_path, entry, source, item):
    before = {"files": {"/lists/a.csv": [3, 5], "/lists/b.csv": [4, 6]}, "stride": 60}
    write_item(source, tmp_path / "X" / "X.tif", before)

    def difference(files, stride=60):
        return result_state(tmp_path, entry, {"files": files, "stride": stride}).difference

    changed = {"/lists/a.csv": [3, 7], "/lists/b.csv": [4, 6]}
    assert difference(changed) == "/lists/a.csv has changed since it was made"
    assert difference(changed, 30) == (
        "/lists/a.csv has changed since it was made; made with stride 60, not 30"
    )
    both = {"/lists/a.csv": [3, 7], "/lists/b.csv": [5, 6]}
    assert difference(both) == "/lists/a.csv, /lists/b.csv have changed since it was made"
    # Another list is a different setting.
    assert difference({"/lists/c.csv": [3, 5]}) == "made with other files"


def test_another_version(tmp_path, entry, item, monkeypatch):
    monkeypatch.setattr(module, "__version__", "99")
    assert result_state(tmp_path, entry, SETTINGS).difference.endswith("this is 99")
    change(item, **{"processing:software": {}})
    assert result_state(tmp_path, entry, SETTINGS).difference == "made by version None, this is 99"


def test_another_source(tmp_path, entry, item):
    other = ProductEntry("X", entry.source.replace("X.SAFE", "Y.SAFE"))
    assert (
        result_state(tmp_path, other, SETTINGS).difference
        == "made from ../in/X.SAFE, not ../in/Y.SAFE"
    )
    assert result_state(tmp_path, ProductEntry("X", "https://host/X"), SETTINGS).difference


def test_no_settings(tmp_path, entry, item):
    change(item, **{"decametre:settings": None})
    assert "does not state its settings" in result_state(tmp_path, entry, SETTINGS).difference


def test_result_of_sharpen_is_complete_for_all_forms_of_its_source(sample, sample_item, tmp_path):
    safe = make_products([sample], tmp_path / "in", 1, 60)[0]
    bands, models = ("B05",), ("bicubic",)
    settings = Sharpen(SharpenOptions(bands=bands, model=models, device="cpu")).settings()
    granule = next((safe / "GRANULE").iterdir())
    forms = [safe, zip_safe(safe), safe / "MTD_MSIL2A.xml", granule, Path(sample_item)]
    for number, source in enumerate(forms):
        output = tmp_path / f"{number}" / f"{number}.tif"
        output.parent.mkdir()
        api.sharpen(source, output, bands=bands, model=models, device="cpu")
        found = result_state(tmp_path, ProductEntry(str(number), str(source)), settings)
        assert found == ResultState(complete=True), source
    part = tmp_path / "part" / "part.tif"
    part.parent.mkdir()
    api.sharpen(safe, part, bands=bands, model=models, device="cpu", window=(0, 0, 30, 30))
    found = result_state(tmp_path, ProductEntry("part", str(safe)), settings)
    assert "made with window" in found.difference
