import pytest
from hypothesis import given
from hypothesis import strategies as st

from decametre.errors import GridError
from decametre.sentinel2.grid import Grid, Window

GRID = Grid("EPSG:32633", 300000.0, 6200040.0, 600, 480)

windows = st.builds(
    Window, st.integers(-50, 400), st.integers(-50, 400), st.integers(1, 300), st.integers(1, 300)
)


@given(windows, st.sampled_from([1, 2, 6]))
def test_snapping_grows_outward_by_less_than_a_step(window, step):
    snapped = window.snapped(step)
    assert snapped.contains(window)
    assert snapped.col % step == snapped.row % step == 0
    assert snapped.width % step == snapped.height % step == 0
    assert window.col - snapped.col < step
    assert snapped.bottom - window.bottom < step


@given(windows, windows)
def test_intersection_lies_in_both(one, other):
    common = one.intersection(other)
    assert common == other.intersection(one)
    if common.width and common.height:
        assert one.contains(common)
        assert other.contains(common)


def test_coarse_windows_and_slices():
    window = Window(12, 24, 60, 36)
    assert window.coarsened(6) == Window(2, 4, 10, 6)
    assert window.relative_to(Window(6, 12, 1, 1)) == Window(6, 12, 60, 36)
    assert window.slices == (slice(24, 60), slice(12, 72))


def test_transforms_and_crops():
    assert GRID.transform(20) == (20.0, 0.0, 300000.0, 0.0, -20.0, 6200040.0)
    assert GRID.shape(60) == (80, 100)
    cropped = GRID.crop(Window(60, 120, 60, 60))
    assert cropped.bounds == (300600.0, 6198240.0, 301200.0, 6198840.0)
    assert GRID.window_of_bounds(cropped.bounds) == Window(60, 120, 60, 60)


def test_bounds_between_pixels_are_covered():
    west, south, east, north = GRID.crop(Window(60, 120, 60, 60)).bounds
    assert GRID.window_of_bounds((west - 1, south, east + 1, north + 1)) == Window(59, 119, 62, 61)


@pytest.mark.parametrize(
    "window", [Window(0, 0, 0, 10), Window(-1, 0, 10, 10), Window(590, 0, 20, 10)]
)
def test_a_window_outside_is_refused_in_one_line(window):
    with pytest.raises(GridError) as error:
        GRID.checked_window(window, 6)
    assert str(window) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_good_window_is_snapped():
    assert GRID.checked_window(Window(1, 1, 5, 7), 6) == Window(0, 0, 6, 12)
