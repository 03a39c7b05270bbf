"""What RESULT and BEFORE may be, and what the page learns of them."""

import json
import shutil

import numpy as np
import pytest
import rasterio

from decametre.errors import DecametreError, NotAProductError, UnknownNameError, ViewError
from decametre.landcover.mapping.geotiff import ClassWriter, MapGrid, ProbabilityWriter
from decametre.viewer.opening import open_scene
from tests.viewer.conftest import CARD


def test_the_page_gets_bands_presets_limits_and_card(client):
    view = client.json("products/0/view.json")
    assert view["title"] == "sharp"
    assert view["crs"] == "EPSG:32633"
    assert view["resolutions"] == [20.0, 10.0]
    assert [band["name"] for band in view["layers"]["result"]["bands"]][:2] == ["B01", "B02"]
    gsd = {band["name"]: band["pixel"] for band in view["layers"]["before"]["bands"]}
    assert (gsd["B02"], gsd["B05"], gsd["B09"]) == (10, 20, 60)
    assert view["presets"]["True colour"] == ["B04", "B03", "B02"]
    assert [index["name"] for index in view["indices"]][:4] == ["NDVI", "NDMI", "NBR", "NDWI"]
    low, high = view["limits"]["B08"]
    assert 0 < low < high < 1
    assert view["card"] == CARD


def test_an_item_names_its_image(result):
    scene = open_scene(str(result.with_suffix(".json")))
    assert scene.result.title == "sharp"
    assert scene.before is not None


def test_without_an_item_there_is_no_before_and_the_card_is_read_from_its_file(result, tmp_path):
    shutil.copy(result, tmp_path / "alone.tif")
    (tmp_path / "alone.quality.json").write_text(json.dumps(CARD))
    scene = open_scene(str(tmp_path / "alone.tif"))
    assert scene.before is None
    assert scene.card == CARD


def test_before_may_be_a_geotiff_or_a_product(result, sample_item, tmp_path):
    assert open_scene(str(result), str(result)).before.pixel == 10
    shutil.copy(result, tmp_path / "alone.tif")
    assert "B8A" in open_scene(str(tmp_path / "alone.tif"), sample_item).before.channels


def test_a_product_alone_can_be_shown(sample_item):
    scene = open_scene(sample_item)
    assert scene.before is None
    assert scene.result.channels["B01"].pixel == 60


def test_a_source_that_cannot_be_opened_is_a_warning(result, tmp_path, caplog):
    shutil.copy(result, tmp_path / "sharp.tif")
    item = json.loads(result.with_suffix(".json").read_text())
    (tmp_path / "source.json").write_text("{}")
    item["links"][0]["href"] = "source.json"
    (tmp_path / "sharp.json").write_text(json.dumps(item))
    assert open_scene(str(tmp_path / "sharp.tif")).before is None
    assert "the product before is not shown" in caplog.text


def test_the_offset_of_the_settings_applies_to_the_source(result, tmp_path):
    shutil.copy(result, tmp_path / "sharp.tif")
    item = json.loads(result.with_suffix(".json").read_text())
    source = (result.parent / item["links"][0]["href"]).resolve()
    item["links"][0]["href"] = str(source)
    item["properties"]["decametre:settings"] = {"offset_dn": -1000.0}
    (tmp_path / "sharp.json").write_text(json.dumps(item))
    before = open_scene(str(tmp_path / "sharp.tif")).before
    assert before.channels["B04"].offset == pytest.approx(-0.1)


def test_a_land_cover_map_has_its_legend(tmp_path):
    grid = MapGrid("EPSG:32633", 300000, 6200040, 120, 2, 3)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]], np.float32)
    classes, colours = ("Forest", "Water"), ((0, 100, 0), (0, 0, 200))
    with ProbabilityWriter(tmp_path / "map.tif", grid, classes, "probability") as writer:
        writer.write(0, probabilities)
        writer.write(1, probabilities)
        writer.finish({})
    with ClassWriter(tmp_path / "map.classes.tif", grid, classes, colours) as writer:
        writer.write(0, probabilities)
        writer.write(1, probabilities)
        writer.finish({})
    for name in ("map.tif", "map.classes.tif"):
        layer = open_scene(str(tmp_path / name)).result
        assert [(e.value, e.name, e.colour[:3]) for e in layer.legend] == [
            (0, "Forest", (0, 100, 0)),
            (1, "Water", (0, 0, 200)),
        ]
    scene = open_scene(str(tmp_path / "map.tif"))
    assert list(scene.result.channels) == ["classes", "Forest", "Water"]
    values = scene.values(300000 + 130, 6200040 - 10)["result"]
    assert values == pytest.approx({"classes": 1, "Forest": 0.2, "Water": 0.8})
    outside = scene.values(300000 + 250, 6200040 - 10)["result"]
    assert outside == {"classes": None, "Forest": None, "Water": None}


def write_tif(path, **changes):
    profile = {
        "driver": "GTiff",
        "width": 8,
        "height": 8,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 300000, 0, -10, 6200040),
    }
    with rasterio.open(path, "w", **(profile | changes)) as dataset:
        dataset.write(np.ones((dataset.count, 8, 8), dataset.dtypes[0]))
    return str(path)


def test_any_geotiff_can_be_shown(tmp_path):
    scene = open_scene(write_tif(tmp_path / "any.tif", count=2, dtype="float32", crs="EPSG:3857"))
    assert list(scene.result.channels) == ["band 1", "band 2"]
    assert scene.description["crs"] == "EPSG:3857"
    assert scene.description["presets"] == {}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_cannot_be_shown_is_one_line(result, tmp_path):
    with pytest.raises(ViewError, match="no such file"):
        open_scene(str(tmp_path / "nothing.tif"))
    (tmp_path / "text.tif").write_text("text")
    with pytest.raises(ViewError, match="cannot be opened as a GeoTIFF"):
        open_scene(str(tmp_path / "text.tif"))
    with pytest.raises(ViewError, match="no georeference"):
        open_scene(write_tif(tmp_path / "bare.tif", crs=None))
    turned = rasterio.Affine(10, 1, 300000, 1, -10, 6200040)
    with pytest.raises(ViewError, match="not north up"):
        open_scene(write_tif(tmp_path / "turned.tif", transform=turned))
    with pytest.raises(NotAProductError):
        open_scene(str(tmp_path / "nothing"))
    with pytest.raises(UnknownNameError, match="unknown band 'B99'"):
        open_scene(str(result), bands=("B99",))
    elsewhere = rasterio.Affine(10, 0, 500000, 0, -10, 6200040)
    with pytest.raises(ViewError, match="no area in common"):
        open_scene(str(result), write_tif(tmp_path / "far.tif", transform=elsewhere))
    with pytest.raises(ViewError, match="coordinate system"):
        open_scene(str(result), write_tif(tmp_path / "other.tif", crs="EPSG:32632"))


def test_an_item_without_its_image_is_one_line(result, tmp_path):
    shutil.copy(result.with_suffix(".json"), tmp_path / "sharp.json")
    with pytest.raises(ViewError, match="does not exist"):
        open_scene(str(tmp_path / "sharp.json"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"properties": {}, "assets": []}', '{"properties": 3, "links": [3]}']
)
def test_a_file_that_is_no_item_is_one_line_or_ignored_next_to_an_image(result, tmp_path, text):
    shutil.copy(result, tmp_path / "alone.tif")
    (tmp_path / "alone.json").write_text(text)
    assert open_scene(str(tmp_path / "alone.tif")).before is None
    with pytest.raises(DecametreError):
        open_scene(str(tmp_path / "alone.json"))
