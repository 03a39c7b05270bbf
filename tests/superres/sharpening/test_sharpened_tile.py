"""What `sharpen` wrote is read back; what it did not write is refused."""

import json

import numpy as np
import pytest
import rasterio

import decametre
from decametre.errors import CorruptDataError, NotAProductError
from decametre.sentinel2.bands import BAND_NAMES
from decametre.superres.sharpening.sharpened_tile import SharpenedRows, open_sharpened


@pytest.fixture(scope="module")
def path(sample, tmp_path_factory):
    output = tmp_path_factory.mktemp("sharpened") / "part.tif"
    decametre.sharpen(sample, output, window=(60, 120, 180, 120), self_check=False)
    return output


def test_an_opened_tile_has_all_properties(path, sample):
    tile = open_sharpened(path)
    assert tile.product == sample.id
    assert (tile.grid.left, tile.grid.top) == (300600, 6198840)
    assert (tile.grid.width, tile.grid.height) == (180, 120)
    assert tile.grid.crs == sample.grid.crs
    assert dict(tile.offsets) == dict.fromkeys(BAND_NAMES, 0)
    first, second = tile.model.split(", ")
    for text, name in ((first, "native_2x"), (second, "native_6x")):
        found, checksum = text.split(" sha256:")
        assert found == name
        assert len(checksum) == 64


def tall(folder, path, height=2000):
    """The tile with other pixels, higher than its blocks: the item stays."""
    images = np.random.default_rng(0).integers(0, 9999, (12, height, 180), dtype=np.uint16)
    with rasterio.open(path) as small:
        profile = small.profile | {"height": height, "compress": "deflate"}
        descriptions = small.descriptions
    with rasterio.open(folder / "tall.tif", "w", **profile) as dataset:
        dataset.write(images)
        dataset.descriptions = descriptions
    (folder / "tall.json").write_text(path.with_suffix(".json").read_text())
    return open_sharpened(folder / "tall.tif"), images


def test_rows_across_blocks(tmp_path, path):
    tile, images = tall(tmp_path, path)
    with SharpenedRows(tile, 30, 170, 120) as rows:
        for row in (0, 6, 12, 390, 396, 511, 512, 640, 1000, 1500, 1880):
            np.testing.assert_array_equal(rows.read(row), images[:, row : row + 120, 30:170])


def test_every_block_is_read_once(tmp_path, path, monkeypatch):
    tile, _ = tall(tmp_path, path)
    asked = []
    with SharpenedRows(tile, 0, 180, 120) as rows:
        read = rows._dataset.read

        class Counting:
            @staticmethod
            def read(window):
                asked.append((window.row_off, window.height))
                return read(window=window)

            def close(self):
                pass

        rows._dataset = Counting()
        for row in range(0, 1881, 60):
            rows.read(row)
    assert asked == [(0, 512), (512, 512), (1024, 512), (1536, 464)]


def refused(path, message, error=NotAProductError):
    with pytest.raises(error, match=message) as caught:
        open_sharpened(path)
    assert "\n" not in str(caught.value)


def test_invalid_tiles_are_errors(tmp_path, path):
    refused(tmp_path / "none.tif", "no such file")
    copy = tmp_path / "copy.tif"
    copy.write_bytes(path.read_bytes())
    refused(copy, r"no complete result of `decametre sharpen`, because copy\.json is missing")
    item = json.loads(path.with_suffix(".json").read_text())
    quality = item["properties"].pop("decametre:quality")
    copy.with_suffix(".json").write_text(json.dumps(item))
    refused(copy, "has no quality card")
    item["properties"]["decametre:quality"] = quality
    copy.with_suffix(".json").write_text(json.dumps(item))
    assert open_sharpened(copy).product == quality["product"]["id"]
    copy.write_text("text")
    refused(copy, "cannot be opened", CorruptDataError)


def test_other_encodings_are_errors(sample, tmp_path):
    options = {"window": (0, 0, 60, 60), "model": "bicubic", "self_check": False}
    decametre.sharpen(sample, tmp_path / "a.tif", encoding="reflectance", **options)
    refused(tmp_path / "a.tif", "with all twelve bands and --encoding dn")
    decametre.sharpen(sample, tmp_path / "b.tif", bands=["B02", "B05"], **options)
    refused(tmp_path / "b.tif", "of B02 B05; sharpen with all twelve bands")
