"""The STAC item of a store of patches."""

import json
from pathlib import Path

import pystac

from decametre import __version__
from decametre.io.stac_item import SETTINGS
from decametre.landcover.extraction.stac_item import store_item


def test_an_item_describes_the_store_and_its_products(sample, tmp_path):
    output = tmp_path / "X.h5"
    output.touch()
    settings = {"stride": 1200, "exclude": []}
    document = store_item(sample, output, 23, {"cloud": 2}, settings)
    (tmp_path / "X.json").write_text(json.dumps(document))
    item = pystac.Item.from_file(tmp_path / "X.json")
    assert item.id == "X"
    assert item.properties["decametre:patches"] == {"patches": 23, "left_out": {"cloud": 2}}
    assert item.properties[SETTINGS] == settings
    assert item.properties["processing:software"] == {"decametre": __version__}
    assert item.properties["proj:code"] == sample.grid.crs
    assert item.properties["proj:shape"] == [600, 600]
    west, south, east, north = item.bbox
    assert west < east < west + 0.2
    assert south < north < south + 0.1
    assert Path(item.assets["data"].get_absolute_href()) == output
    assert item.assets["data"].media_type == pystac.MediaType.HDF5
    [link] = item.get_links("derived_from")
    assert (tmp_path / link.href).resolve() == Path(sample.source).resolve()
