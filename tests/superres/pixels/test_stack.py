import numpy as np
import pytest

from decametre.sentinel2.grid import Window
from decametre.sentinel2.raster import BandReader
from decametre.superres.pixels.stack import by_gsd, fill_gaps, reach_for, read_stack


def test_a_complete_image_is_unchanged():
    values = np.random.default_rng(0).random((8, 9)).astype(np.float32)
    assert fill_gaps(values, np.ones((8, 9), bool), 4) is values


def test_a_missing_row_becomes_the_mean_of_its_neighbours():
    values = np.tile(np.arange(7, dtype=np.float32)[:, None], (1, 9))
    valid = np.ones((7, 9), bool)
    valid[3] = False
    values[3] = -99
    np.testing.assert_allclose(fill_gaps(values, valid, 4)[3], 3)


def test_measured_pixels_are_kept_and_missing_ones_ignored():
    rng = np.random.default_rng(1)
    values = rng.random((30, 30)).astype(np.float32)
    valid = rng.random((30, 30)) > 0.6
    filled = fill_gaps(values, valid, 5)
    np.testing.assert_array_equal(filled[valid], values[valid])
    other = np.where(valid, values, np.float32(1e6))
    np.testing.assert_array_equal(fill_gaps(other, valid, 5), filled)


def test_deep_gaps_get_the_nearest_value_up_to_the_reach():
    values = np.full((5, 40), 0.25, np.float32)
    valid = np.zeros((5, 40), bool)
    valid[:, :10] = True
    filled = fill_gaps(values, valid, 8)
    assert (filled[:, : 10 + 1 + 8] == 0.25).all()
    assert (filled[:, 10 + 1 + 8 :] == 0).all()


def test_an_unmeasured_image_is_zero():
    assert (fill_gaps(np.full((4, 4), 7, np.float32), np.zeros((4, 4), bool), 3) == 0).all()


@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (8, 1)])
def test_a_pixel_is_filled_equally_in_every_window(shift):
    rng = np.random.default_rng(2)
    values = rng.random((60, 60)).astype(np.float32)
    valid = rng.random((60, 60)) > 0.97  # lonely pixels: long distances, many ties
    reach = 6
    whole = fill_gaps(values, valid, reach)
    row, col = shift
    part = fill_gaps(
        values[row : row + 40, col : col + 40], valid[row : row + 40, col : col + 40], reach
    )
    edge = reach + 2
    inner = (slice(edge, -edge), slice(edge, -edge))
    expected = whole[row : row + 40, col : col + 40]
    np.testing.assert_array_equal(part[inner], expected[inner])


def test_groups_by_native_grid():
    assert by_gsd(["B09", "B12", "B02", "B05"]) == {10: ("B02",), 20: ("B05", "B12"), 60: ("B09",)}


def test_beyond_the_product_it_is_mirrored_and_not_measured(sample):
    names = ("B02", "B05")
    with BandReader(sample, names) as reader:
        stack = read_stack(reader, sample, names, Window(-4, -4, 20, 20), 10)
        inside = reader.read("B05", Window(0, 0, 16, 16))
    assert stack.dn[20].shape == (1, 10, 10)
    np.testing.assert_array_equal(stack.dn[20][0, 2:, 2:], inside)
    assert not stack.valid[20][0, :2].any()
    assert stack.valid[20][0, 2:, 2:].all()
    np.testing.assert_allclose(stack.reflectance[20][0, :2, 5], inside[1::-1, 3] * 1e-4, rtol=1e-6)
    fine = stack.reflectance[10][0].reshape(10, 2, 10, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(fine[:2], fine[3:1:-1], rtol=1e-5)


def test_the_reach_covers_the_diagonal():
    assert reach_for(10) == 15
