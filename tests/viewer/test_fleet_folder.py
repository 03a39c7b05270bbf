"""The folder of a fleet: footprints, and the products behind them."""

import json
import os

import pytest

from decametre.errors import ViewError
from decametre.fleet.catalog import Catalog
from decametre.viewer.fleet_folder import FleetFolder
from decametre.viewer.options import ViewOptions
from decametre.viewer.viewer import open_viewer
from tests.viewer.conftest import Client


@pytest.fixture
def fleet(result, tmp_path):
    folder = tmp_path / "fleet-out"
    catalog = None
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        catalog = catalog or Catalog(folder, "Test")
        item = json.loads(result.with_suffix(".json").read_text()) | {"id": name, "links": []}
        item["assets"]["data"]["href"] = f"./{name}.tif"
        (folder / name / f"{name}.json").write_text(json.dumps(item))
        os.link(result, folder / name / f"{name}.tif")
        catalog.add(name, f"{name}/{name}.json")
    return folder


def test_products_are_listed_with_their_residual_and_open_by_number(fleet):
    with open_viewer(str(fleet), None, ViewOptions()) as viewer:
        client = Client(viewer)
        assert client.json("site.json")["kind"] == "fleet"
        one, two = client.json("fleet.json")
        assert (one["name"], two["name"]) == ("one", "two")
        assert one["residual"] == pytest.approx(0.008)
        assert one["geometry"]["type"] == "Polygon"
        assert client.json("products/1/view.json")["title"] == "two"
        assert client.get("products/2/view.json").status == 404


def test_items_and_images_outside_the_folder_are_skipped(fleet, result):
    page = fleet / "fleet" / "pages" / "00001.json"
    content = json.loads(page.read_text())
    outside = os.path.relpath(result.with_suffix(".json"), page.parent)
    content["links"].append({"rel": "item", "href": outside})
    page.write_text(json.dumps(content))
    two = fleet / "two" / "two.json"
    item = json.loads(two.read_text())
    item["assets"]["data"]["href"] = str(result)
    two.write_text(json.dumps(item))
    assert [path.stem for path in FleetFolder(fleet).items] == ["one"]


def test_a_folder_without_products_is_one_line(tmp_path):
    with pytest.raises(ViewError, match=r"no catalog\.json in this folder"):
        open_viewer(str(tmp_path), None, ViewOptions())
    Catalog(tmp_path, "Empty")
    with pytest.raises(ViewError, match="no completed product"):
        open_viewer(str(tmp_path), None, ViewOptions())
