import torch

from decametre.sentinel2.grid import Window
from decametre.superres.pixels.scenes import load_scene, load_scenes, spread_windows


def test_a_window_has_the_pixels_of_the_product(sample):
    whole = load_scene(sample, ["B04", "B05", "B01"])
    part = load_scene(sample, ["B04", "B05", "B01"], Window(120, 240, 180, 60))
    assert whole.name == sample.id
    assert part.name == f"{sample.id}@120,240"
    for gsd in (10, 20, 60):
        rows, cols = Window(120, 240, 180, 60).coarsened(gsd // 10).slices
        assert torch.equal(part.reflectance[gsd], whole.reflectance[gsd][:, rows, cols])


def test_a_small_product_is_read_completely(sample):
    ((product, scene),) = load_scenes([sample], ["B04"], edge=1380, count=1)
    assert product.id == scene.name == sample.id
    assert scene.reflectance[10].shape == (1, 600, 600)


def test_windows_of_a_large_product_are_reproducible(sample):
    every = spread_windows(sample, 240, 100)
    assert sum(window.width * window.height for window in every) == 600 * 600
    assert len(every) == 9
    chosen = spread_windows(sample, 240, 4)
    assert len(set(chosen)) == 4
    assert set(chosen) < set(every)
    assert chosen == spread_windows(sample, 240, 4)
    assert chosen != every[:4]
