"""Arrays as products: shapes and units that are refused."""

import numpy as np
import pytest

import decametre
from decametre.errors import GridError, RadiometryError
from decametre.sentinel2.array_product import BandArray, array_product
from decametre.sentinel2.grid import Window


def test_shapes_that_do_not_fit_are_refused():
    images = {"B02": np.ones((60, 60), "u2"), "B05": np.ones((60, 60), "u2")}
    with pytest.raises(GridError, match="band B05 covers 1200 x 1200 m, but B02 covers 600 x 600"):
        decametre.sharpen_arrays(images, offset="none")


def test_more_than_two_dimensions_are_refused():
    with pytest.raises(GridError, match=r"band B02: has 3 dimensions; give \(rows, columns\)"):
        decametre.sharpen_arrays({"B02": np.ones((1, 60, 60), "u2")}, offset="none")


def test_integers_need_an_offset():
    with pytest.raises(RadiometryError, match="without a stated offset are ambiguous; give offset"):
        decametre.sharpen_arrays({"B02": np.ones((60, 60), "u2")})


def test_reflectance_takes_no_offset():
    with pytest.raises(RadiometryError, match="scale and offset are ambiguous"):
        decametre.sharpen_arrays({"B02": np.ones((60, 60), "f4")}, offset=-1000)


def test_dn_and_reflectance_cannot_be_mixed():
    bands = {
        "B02": BandArray(np.ones((60, 60), "f4")),
        "B03": BandArray(np.ones((60, 60), "u2"), offset=0.0),
    }
    with pytest.raises(RadiometryError, match="some bands are DN and some reflectance"):
        array_product(bands, "arrays")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32(4000), "the value 4000 cannot be reflectance"),
        (np.int32(-9999), "values from -9999 to 1; DN are between 0 and 65535"),
        (np.int32(70000), "values from 1 to 70000; DN are between 0 and 65535"),
    ],
)
def test_impossible_values_are_refused_when_they_are_read(values, message):
    pixels = np.ones((60, 60), values.dtype)
    pixels[3, 4] = values
    offset = None if pixels.dtype.kind == "f" else 0.0
    image = array_product({"B02": BandArray(pixels, offset=offset)}, "arrays").bands["B02"].image
    image.read(Window(6, 0, 6, 6))
    with pytest.raises(RadiometryError, match=message):
        image.read(Window(0, 0, 6, 6))


def test_wider_integers_are_read_as_dn():
    pixels = np.arange(3600, dtype="i4").reshape(60, 60)
    image = array_product({"B02": BandArray(pixels, offset=0.0)}, "arrays").bands["B02"].image
    read = image.read(Window(0, 0, 60, 60))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, pixels)


def test_gaps_do_not_hide_impossible_values_nor_are_they_impossible():
    pixels = np.full((60, 60), np.nan, "f8")
    image = array_product({"B02": BandArray(pixels)}, "arrays").bands["B02"].image
    assert image.read(Window(0, 0, 60, 60)).dtype == np.float32
    pixels[0, 0] = 11
    with pytest.raises(RadiometryError, match="the value 11"):
        image.read(Window(0, 0, 60, 60))
