import dataclasses

from decametre.sentinel2.grid import Grid
from decametre.sentinel2.parts import choose_window, lonlat_bounds


def test_bounds_over_the_antimeridian_give_the_complete_product(sample):
    grid = Grid("EPSG:32601", 330000, 7000020, 3000, 3000)
    product = dataclasses.replace(sample, grid=grid)
    bounds = lonlat_bounds(product)
    assert bounds[0] > 179
    assert bounds[2] < -179
    assert choose_window(product, None, bounds) == grid.window
