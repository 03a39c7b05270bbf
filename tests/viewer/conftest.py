"""A small result with its product before, and a viewer of it."""

import http.client
import json
import os
from pathlib import Path

import numpy as np
import pytest

from decametre.sentinel2.grid import Window
from decametre.sentinel2.raster import BandReader
from decametre.superres.sharpening.image_writer import CogWriter
from decametre.viewer.options import ViewOptions
from decametre.viewer.viewer import open_viewer

SIZE = 540
"""Rows and columns of the result, so that a tile of 512 pixels does not hold it."""

CARD = {
    "version": "1",
    "product": {"id": "sample", "offset": "raster:offset 0 of asset B01"},
    "models": {"native_2x": {"scores_at_degraded_scale": {"rmse_ratio_to_bicubic": 0.37}}},
    "bands": {"B11": {"native_gsd": 20, "consistency": {"rmse_dn": 15.0, "relative": 0.008}}},
}


def write_result(product, folder: Path, name: str = "sharp") -> Path:
    """The bands of a product at 10 m by repetition, with an item, as `sharpen` writes them."""
    window = Window(0, 0, SIZE, SIZE)
    path = folder / f"{name}.tif"
    radiometry = {band: file.radiometry for band, file in product.bands.items()}
    with (
        BandReader(product, product.bands) as reader,
        CogWriter(path, product.grid.crop(window), radiometry) as writer,
    ):
        images = {}
        for band, numbers in reader.read_all(product.bands, window).items():
            factor = SIZE // len(numbers)
            images[band] = numbers.repeat(factor, axis=0).repeat(factor, axis=1)
        images["B02"][:20, :30] = 0  # a corner without data
        writer.write(window, images)
        writer.finish({})
    item = {
        "type": "Feature",
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [[[11, 55], [12, 55], [12, 56], [11, 55]]]},
        "properties": {"datetime": "2017-05-11T10:00:00Z", "decametre:quality": CARD},
        "links": [{"rel": "derived_from", "href": os.path.relpath(product.source, folder)}],
        "assets": {"data": {"href": f"./{path.name}"}},
    }
    path.with_suffix(".json").write_text(json.dumps(item))
    return path


@pytest.fixture(scope="session")
def result(sample, tmp_path_factory) -> Path:
    return write_result(sample, tmp_path_factory.mktemp("result"))


@pytest.fixture(scope="session")
def viewer(result):
    with open_viewer(str(result), None, ViewOptions()) as running:
        yield running


class Client:
    """Requests to a viewer, as a browser sends them."""

    def __init__(self, viewer) -> None:
        host, _, self.root = viewer.url.removeprefix("http://").partition("/")
        self.root = f"/{self.root}"
        self.connection = http.client.HTTPConnection(host, timeout=60)

    def request(self, path: str, method: str = "GET", **headers: str):
        self.connection.request(method, path, headers=headers)
        response = self.connection.getresponse()
        response.content = response.read()
        return response

    def get(self, path: str):
        return self.request(self.root + path)

    def json(self, path: str):
        response = self.get(path)
        assert response.status == 200, response.content
        return json.loads(response.content)


@pytest.fixture(scope="session")
def client(viewer):
    return Client(viewer)


def reflectance(numbers: np.ndarray, nodata: int = 0) -> np.ndarray:
    """Reflectance of the sample's DN, which has no offset."""
    return np.where(numbers == nodata, np.nan, numbers * np.float32(1e-4))
