import dataclasses
import itertools

import numpy as np
import pytest
import rasterio

from decametre.bench.synthetic_safe import make_safe
from decametre.errors import CorruptDataError, GridError, NotAProductError
from decametre.sentinel2 import raster
from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.gdal_settings import driver_of
from decametre.sentinel2.grid import Window
from decametre.sentinel2.raster import BandGrid, BandReader, StripReader, common_grid, read_grid
from decametre.sentinel2.tiling import split

NAMES = ("B02", "B05", "B01")


@pytest.mark.parametrize("size", [60, 132, 300])
def test_strips_give_what_plain_reading_gives(sample, size):
    extent = Window(60, 120, 480, 420)
    with BandReader(sample, NAMES) as reader:
        strips = StripReader(reader, extent)
        for core in split(extent, size, 6):
            window = core.padded(24).intersection(extent)
            for name in NAMES:
                np.testing.assert_array_equal(strips.read(name, window), reader.read(name, window))


def test_bands_are_read_side_by_side(sample):
    window = Window(60, 120, 120, 60)
    with BandReader(sample, NAMES) as reader:
        strips = StripReader(reader, sample.grid.window)
        one, other = reader.read_all(NAMES, window), strips.read_all(NAMES, window)
        assert list(one) == list(NAMES)
        for name in NAMES:
            np.testing.assert_array_equal(one[name], reader.read(name, window))
            np.testing.assert_array_equal(one[name], other[name])


def test_strips_read_every_row_once(sample, monkeypatch):
    rows = []
    with BandReader(sample, ["B02"]) as reader:
        plain = reader.read_native
        monkeypatch.setattr(
            reader,
            "read_native",
            lambda name, at: rows.append((at.row, at.bottom)) or plain(name, at),
        )
        strips = StripReader(reader, sample.grid.window)
        for core in split(sample.grid.window, 120, 6):
            strips.read("B02", core.padded(24).intersection(sample.grid.window))
    assert rows[0][0] == 0
    assert rows[-1][1] == 600
    assert all(one[1] == other[0] for one, other in itertools.pairwise(rows))


def test_going_back_starts_anew(sample):
    with BandReader(sample, ["B05"]) as reader:
        strips = StripReader(reader, sample.grid.window)
        for row in (300, 0, 120):
            window = Window(60, row, 120, 120)
            np.testing.assert_array_equal(strips.read("B05", window), reader.read("B05", window))


@pytest.mark.parametrize(
    ("path", "driver"),
    [
        ("x/T31TCJ_B02.jp2", "JP2OpenJPEG"),
        ("/vsizip/{x.zip}/T31TCJ_B02.JP2", "JP2OpenJPEG"),
        ("/vsicurl/https://host/B02.jp2?sig=a", "JP2OpenJPEG"),
        ("/vsicurl?pc_url_signing=yes&url=https%3A%2F%2Fhost%2FB02.jp2%3Fst%3D1", "JP2OpenJPEG"),
        ("B02.tif", "GTiff"),
        ("B02.jp2.tif", "GTiff"),
        ("from.jp2.files/B02.tif", "GTiff"),
        ("/vsicurl/https://host/B02.tif?name=B02.jp2", "GTiff"),
    ],
)
def test_driver_follows_the_end_of_the_name(path, driver):
    assert driver_of(path) == driver


def grids(**changes):
    found = {}
    for name in ("B02", "B05", "B01"):
        gsd = ALL_BANDS[name].gsd
        transform = (gsd, 0.0, 300000.0, 0.0, -gsd, 4900020.0)
        found[name] = BandGrid("EPSG:32631", transform, 120 * 10 // gsd, 180 * 10 // gsd)
    for name, change in changes.items():
        found[name] = BandGrid(**{**vars(found[name]), **change})
    return found


def test_the_common_grid():
    grid = common_grid("x", grids())
    assert (grid.width, grid.height, grid.left, grid.top) == (120, 180, 300000.0, 4900020.0)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("B05", {"crs": "EPSG:32632"}, "band B05 is in EPSG:32632, but B02 is in EPSG:32631"),
        ("B05", {"transform": (20, 0, 300010, 0, -20, 4900020)}, "band B05 has transform"),
        ("B01", {"transform": (20, 0, 300000, 0, -20, 4900020)}, "native 60 m grid"),
        ("B01", {"width": 19}, "band B01 covers 1140 x 1800 m, but B02 covers 1200 x 1800 m"),
    ],
)
def test_grids_that_do_not_fit_are_refused(name, change, words):
    with pytest.raises(GridError, match=words):
        common_grid("x", grids(**{name: change}))


def test_no_band_no_product():
    with pytest.raises(NotAProductError, match="no Sentinel-2 band"):
        common_grid("x", {})


def test_a_band_may_have_pixels_in_memory(sample):
    """Readers do not depend on where the pixels come from."""

    @dataclasses.dataclass
    class InMemory:
        pixels: np.ndarray
        block_rows: int = 7

        def read(self, window):
            return self.pixels[window.slices]

    with rasterio.open(sample.bands["B05"].path) as file:
        image = InMemory(file.read(1))
    band = dataclasses.replace(sample.bands["B05"], path="array B05", image=image)
    product = dataclasses.replace(sample, bands={**sample.bands, "B05": band})
    window = Window(60, 30, 120, 90)
    with BandReader(product, ["B05"]) as memory, BandReader(sample, ["B05"]) as files:
        expected = files.read("B05", window)
        np.testing.assert_array_equal(memory.read("B05", window), expected)
        strips = StripReader(memory, sample.grid.window)
        np.testing.assert_array_equal(strips.read("B05", window), expected)


def test_a_grid_and_blocks_that_are_too_large(tmp_path, monkeypatch):
    claimed = BandGrid("EPSG:32631", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 2**31 - 1, 60)
    with pytest.raises(GridError, match="2147483647 x 60 pixels at 10 m, expected 1 to 131072"):
        common_grid("x.SAFE", {"B02": claimed})
    monkeypatch.setattr(raster, "MAX_BLOCK_PIXELS", 100)
    image = np.ones((60, 60), "uint16")
    [path] = make_safe(tmp_path, {"B02": image}).rglob("*.jp2")
    with pytest.raises(CorruptDataError, match="has blocks of"):
        read_grid("B02", str(path))
