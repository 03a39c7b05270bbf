"""Pixels read for rows of patches equal those of the complete product, from any source."""

import numpy as np
import pytest
import torch

from decametre.landcover.mapping.pixel_rows import (
    PatchGrid,
    cut,
    data_share,
    native_rows,
    sharpened_rows,
    tile_rows,
)
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.raster import BandReader
from decametre.superres.models.registry import models_for
from decametre.superres.sharpening.sharpened_tile import open_sharpened
from decametre.superres.sharpening.sharpener import Sharpener
from tests.landcover.extraction.scenes import made_product, made_tile

NATIVE = ("B02", "B8A", "B01")


@pytest.mark.parametrize(("stride", "rim"), [(60, 0), (300, 0), (600, 0), (1200, 60)])
def test_the_rim_of_a_full_tile(stride, rim):
    tile = Window(0, 0, 10980, 10980)
    assert PatchGrid(tile, stride).extent == Window(0, 0, 10980 - rim, 10980 - rim)
    moved = PatchGrid(Window(60, 60, 10920, 10920), 1200).extent
    assert (moved.right, moved.bottom) == (tile.right, tile.bottom)


@pytest.mark.parametrize("stride", [60, 180, 600, 1200])
def test_rows_as_measured(sample, stride):
    patches = PatchGrid(Window(6, 12, 300, 426), stride)
    extent = patches.extent
    with BandReader(sample, NATIVE) as reader:
        whole = reader.read_all(NATIVE, extent)
    rows = list(native_rows(sample, NATIVE, patches))
    assert len(rows) == patches.rows == (426 - 120) // (stride // 10) + 1
    for row, planes in enumerate(rows):
        for name in NATIVE:
            factor = ALL_BANDS[name].gsd // 10
            first = row * patches.step // factor
            expected = whole[name][first : first + 120 // factor]
            np.testing.assert_array_equal(planes[name], expected)


@pytest.mark.parametrize("stride", [60, 1200])
@pytest.mark.parametrize("tile", [60, 132, 600])
def test_rows_sharpened_on_the_way(sample, stride, tile):
    patches = PatchGrid(Window(0, 60, 264, 390), stride)
    bands = ("B02", "B05", "B09")
    models = models_for(bands, ["bicubic"])
    sharpener = Sharpener(models, bands, torch.device("cpu"), torch.float32)
    (whole,) = sharpened_rows(sample, sharpener, PatchGrid(Window(0, 60, 240, 120), 1200), 600)
    first = next(iter(sharpened_rows(sample, sharpener, patches, tile)))
    for name in bands:
        # Rounding to DN; the last bits of a network depend on the window's size.
        np.testing.assert_allclose(first[name][:, :240].astype(int), whole[name], rtol=0, atol=1)
    rows = [
        {name: plane.copy() for name, plane in planes.items()}
        for planes in sharpened_rows(sample, sharpener, patches, tile)
    ]
    assert len(rows) == patches.rows
    with BandReader(sample, ["B02"]) as reader:
        fine = reader.read("B02", patches.extent)
    for row, planes in enumerate(rows):
        at = row * patches.step
        np.testing.assert_array_equal(planes["B02"], fine[at : at + 120])
        if row:  # overlapping rows agree
            shared = 120 - patches.step
            np.testing.assert_array_equal(
                planes["B09"][:shared], rows[row - 1]["B09"][patches.step :]
            )


@pytest.mark.parametrize("stride", [60, 600, 1200])
def test_rows_of_a_tile_stay_what_they_are_while_later_ones_are_read(tmp_path, stride):
    safe, bands = made_product(tmp_path, 300, 600)
    images = made_tile(tmp_path / "sharp.tif", safe, bands, window=Window(0, 60, 300, 540))
    tile = open_sharpened(tmp_path / "sharp.tif")
    assert open_product(str(safe)).grid.height == 600
    patches = PatchGrid(Window(60, 120, 240, 480), stride)
    rows = list(tile_rows(tile, Window(0, 60, 300, 540), patches))
    for row, planes in enumerate(rows):
        at = 120 + row * patches.step
        width = patches.extent.width
        for band, name in enumerate(BAND_NAMES):
            np.testing.assert_array_equal(
                planes[name], images[band, at : at + 120, 60 : 60 + width]
            )


def test_patches_are_cut_in_the_networks_order_and_their_gaps_counted():
    random = np.random.default_rng(0)
    planes = {
        "B02": random.integers(1, 99, (120, 240), dtype=np.uint16),
        "B03": random.integers(1, 99, (120, 240), dtype=np.uint16),
        "B01": random.integers(1, 99, (20, 40), dtype=np.uint16),
    }
    planes["B03"][:30, 60:] = 0
    planes["B01"][:, 39] = 0
    dn = cut(planes, {10: ("B03", "B02"), 60: ("B01",)}, [0, 1, 2], 60)
    np.testing.assert_array_equal(dn[10][1, 0], planes["B03"][:, 60:180])
    np.testing.assert_array_equal(dn[10][2, 1], planes["B02"][:, 120:])
    np.testing.assert_array_equal(dn[60][2, 0], planes["B01"][:, 20:])
    assert data_share(dn).tolist() == [1 - 30 * 60 / 120**2, 0.75, 0.75]
    assert data_share({60: dn[60]}).tolist() == [1, 1, 0.95]
