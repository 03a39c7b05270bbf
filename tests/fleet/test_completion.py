"""What counts as done, what does not, and what is another's."""

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
    """The item of a finished product."""
    (tmp_path / "X").mkdir()
    write_item(source, tmp_path / "X" / "X.tif", SETTINGS)
    return tmp_path / "X" / "X.json"


def changed(path, **properties):
    content = json.loads(path.read_text())
    content["properties"] |= properties
    path.write_text(json.dumps(content))


def test_nothing_there(tmp_path, entry):
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)
    (tmp_path / "X").mkdir()
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)


def test_done(tmp_path, entry, item):
    assert item == item_path(tmp_path, entry)
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=True)


def test_a_result_that_moved_with_its_input_is_done(tmp_path, entry, item):
    moved = tmp_path.with_name(f"{tmp_path.name}_moved")
    tmp_path.rename(moved)
    source = entry.source.replace(str(tmp_path), str(moved))
    assert result_state(moved, ProductEntry("X", source), SETTINGS).complete


@pytest.mark.parametrize("spoil", ["", "{", '{"type": "Fea', "\0\0\0\0"])
def test_a_damaged_item_is_not_done(tmp_path, entry, item, spoil):
    item.write_text(spoil)
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)


def test_a_lost_asset_is_not_done(tmp_path, entry, item):
    (tmp_path / "X" / "X.tif").unlink()
    assert result_state(tmp_path, entry, SETTINGS) == ResultState(complete=False)


@pytest.mark.parametrize(
    "content", ["[]", "null", "{}", '{"assets": {"data": {}}}', '{"assets": {}, "properties": 1}']
)
def test_what_is_no_item_of_ours_is_left_alone(tmp_path, entry, item, content):
    item.write_text(content)
    assert result_state(tmp_path, entry, SETTINGS).difference == "it is no item of decametre"


def test_other_settings(tmp_path, entry, item):
    def told(**others):
        return result_state(tmp_path, entry, SETTINGS | others).difference

    assert told(bands=["B05", "B06"]) == "made with bands B05, not B05,B06"
    assert told(bands=[]) == "made with bands B05, not none"
    assert told(encoding="dn") == "made with encoding unset, not dn"
    fewer = {key: SETTINGS[key] for key in ("models", "bands")}
    assert result_state(tmp_path, entry, fewer).difference == "made with quicklook false, not unset"


def test_all_settings_that_differ_are_named_and_those_that_can_be_read_are_shown(
    tmp_path, entry, item
):
    def told(**others):
        return result_state(tmp_path, entry, SETTINGS | others).difference

    assert told(models={"a": "other"}) == "made with other models"
    assert told(bands=["B05", "B11"], models={"b": "sha"}) == (
        "made with other models, bands (bands B05, not B05,B11)"
    )
    assert told(bands=["B11"], quicklook=True) == (
        "made with other bands, quicklook (bands B05, not B11; quicklook false, not true)"
    )
    assert told(bands=["a name that is long"] * 9) == "made with other bands"


def test_a_list_that_has_changed_since_is_named(tmp_path, entry, source, item):
    before = {"files": {"/lists/a.csv": [3, 5], "/lists/b.csv": [4, 6]}, "stride": 60}
    write_item(source, tmp_path / "X" / "X.tif", before)

    def told(files, stride=60):
        return result_state(tmp_path, entry, {"files": files, "stride": stride}).difference

    changed = {"/lists/a.csv": [3, 7], "/lists/b.csv": [4, 6]}
    assert told(changed) == "/lists/a.csv has changed since it was made"
    assert told(changed, 30) == (
        "/lists/a.csv has changed since it was made; made with stride 60, not 30"
    )
    both = {"/lists/a.csv": [3, 7], "/lists/b.csv": [5, 6]}
    assert told(both) == "/lists/a.csv, /lists/b.csv have changed since it was made"
    # Where other lists were given, that is what differs.
    assert told({"/lists/c.csv": [3, 5]}) == "made with other files"


def test_another_version(tmp_path, entry, item, monkeypatch):
    monkeypatch.setattr(module, "__version__", "99")
    assert result_state(tmp_path, entry, SETTINGS).difference.endswith("this is 99")
    changed(item, **{"processing:software": {}})
    assert result_state(tmp_path, entry, SETTINGS).difference == "made by version None, this is 99"


def test_another_source(tmp_path, entry, item):
    other = ProductEntry("X", entry.source.replace("X.SAFE", "Y.SAFE"))
    assert (
        result_state(tmp_path, other, SETTINGS).difference
        == "made from ../in/X.SAFE, not ../in/Y.SAFE"
    )
    assert result_state(tmp_path, ProductEntry("X", "https://host/X"), SETTINGS).difference


def test_no_settings(tmp_path, entry, item):
    changed(item, **{"decametre:settings": None})
    assert "does not say with which settings" in result_state(tmp_path, entry, SETTINGS).difference


def test_what_sharpen_alone_made_is_done_whatever_form_its_source_had(
    sample, sample_item, tmp_path
):
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
