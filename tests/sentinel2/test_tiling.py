import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from decametre.sentinel2.grid import Window
from decametre.sentinel2.tiling import split


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 5),
    st.integers(1, 200),
    st.sampled_from([1, 2, 6]),
)
def test_cores_cover_the_window_once(width, height, start, size, step):
    window = Window(start * step, 2 * step, width * step, height * step)
    cover = np.zeros((window.bottom, window.right), int)
    for core in split(window, size, step):
        assert window.contains(core)
        assert core.col % step == core.row % step == 0
        assert core.width <= max(size + step - 1, step)
        cover[core.slices] += 1
    assert (cover[window.slices] == 1).all()
    assert cover.sum() == window.width * window.height


def test_cores_are_of_about_equal_size():
    widths = {core.width for core in split(Window(0, 0, 10980, 6), 1380, 6)}
    assert widths == {1374, 10980 - 7 * 1374}
