import pytest

from decametre.sentinel2.grid import Window
from decametre.sentinel2.radiometry import NODATA
from decametre.superres.sharpening import sample_windows as module
from decametre.superres.sharpening.sample_windows import sample_windows
from tests.superres.sharpening.test_sharpener import crop


@pytest.fixture
def blocks(monkeypatch):
    """Blocks of 128 pixels, so that the sample has 16 of them."""
    monkeypatch.setattr(module, "BLOCK", 128)
    monkeypatch.setattr(module, "EDGE", 108)


def test_windows_are_inside_blocks_and_spread(sample, blocks):
    windows = sample_windows(sample, sample.grid.window, "B09")
    assert windows == [
        Window(132, 0, 108, 108),
        Window(0, 258, 108, 108),
        Window(258, 258, 108, 108),
    ]
    for window in windows:
        assert window.col // 128 == (window.right - 1) // 128
        assert window.row // 128 == (window.bottom - 1) // 128


def test_windows_without_measurements_are_skipped(sample, blocks, tmp_path):
    def no_west(name, dn):
        dn[:, : dn.shape[1] // 2] = NODATA

    torn = crop(sample, tmp_path, sample.grid.window, no_west)
    windows = sample_windows(torn, torn.grid.window, "B09")
    assert len(windows) == 3
    assert all(window.col >= 300 - window.width // 2 for window in windows)


def test_a_small_part_is_one_window(sample):
    assert sample_windows(sample, Window(120, 60, 186, 126), "B8A") == [Window(120, 60, 180, 108)]
    assert sample_windows(sample, Window(120, 60, 30, 180), "B8A") == []
