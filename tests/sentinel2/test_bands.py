import pytest

from decametre.errors import UnknownNameError
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES, bands_at, parse_bands


def test_twelve_bands_in_order_of_wavelength():
    wavelengths = [band.wavelength for band in ALL_BANDS.values()]
    assert len(wavelengths) == 12
    assert wavelengths == sorted(wavelengths)


def test_native_grids():
    assert bands_at(10) == ("B02", "B03", "B04", "B08")
    assert bands_at(20) == ("B05", "B06", "B07", "B8A", "B11", "B12")
    assert bands_at(60) == ("B01", "B09")


def test_band_ids_are_those_of_the_metadata():
    # B10 has id 10 and is not in the table; B8A stands between B08 and B09.
    assert [ALL_BANDS[n].band_id for n in ("B08", "B8A", "B09", "B11")] == [7, 8, 9, 11]


def test_usual_spellings_are_understood_in_the_order_given():
    assert parse_bands(["b12", "8a", " B5 ", "B05"]) == ("B12", "B8A", "B05")


@pytest.mark.parametrize("name", ["B10", "B13", "red", ""])
def test_an_unknown_band_is_named(name):
    with pytest.raises(UnknownNameError, match=f"unknown band '{name}'"):
        parse_bands(["B02", name])


def test_the_nearest_names_are_proposed():
    with pytest.raises(UnknownNameError, match=r"did you mean .*B8A"):
        parse_bands(["B8B"])
    assert "B10" not in BAND_NAMES
