"""Pixels of patches are the product's own, and the sharpened tile's."""

from dataclasses import replace

import numpy as np
import pytest

from decametre.errors import CorruptDataError, GridError, PatchError, RadiometryError
from decametre.landcover.extraction.cutting import CuttingSource, cut_patches
from decametre.landcover.extraction.patch_lists import CompleteGrid
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.radiometry import Radiometry
from decametre.superres.sharpening.sharpened_tile import open_sharpened
from tests.landcover.extraction.scenes import FINE, made_product, made_tile


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A product larger than its files' blocks, its pixels, and a tile of it."""
    folder = tmp_path_factory.mktemp("scene")
    safe, bands = made_product(folder, 1200, 1140)
    images = made_tile(folder / "tile.tif", safe, bands)
    return open_product(str(safe)), bands, open_sharpened(folder / "tile.tif"), images


def expected(bands, images, patch, key):
    layout = LAYOUTS[key]
    step = layout.gsd // 10
    edge = layout.shape[1]
    at = (slice(patch.row // step, patch.row // step + edge),)
    at += (slice(patch.column // step, patch.column // step + edge),)
    if key == "data_super":
        return images[(slice(None), *at)]
    return np.stack([bands[name][at] for name in layout.bands])


def check(scene, patches, keys, tile=True):
    product, bands, opened, images = scene
    source = CuttingSource(product, opened if tile else None, keys)
    found = [patch for row in cut_patches(source, patches) for patch in row]
    assert [patch.name for patch in found] == [patch.name for patch in patches]
    for patch, wanted in zip(found, patches, strict=True):
        for key in keys:
            np.testing.assert_array_equal(patch.data[key], expected(bands, images, wanted, key))
    return found


def test_the_complete_grid(scene):
    found = check(scene, CompleteGrid().locate(scene[0]).patches, (*NATIVE_KEYS, "data_super"))
    assert len(found) == 10 * 9
    last = found[-1]
    assert last.product == scene[0].id
    assert last.crs == "EPSG:32631"
    assert last.origin == (300000 + 9 * 1200, 4900020 - 8 * 1200)
    assert last.offset.tolist() == [-1000] * 12


def test_without_a_tile(scene):
    check(scene, CompleteGrid().locate(scene[0]).patches[::7], NATIVE_KEYS, tile=False)


def test_sharpened_bands_alone(scene):
    check(scene, CompleteGrid().locate(scene[0]).patches[3:50:2], ("data_super",))


def test_patches_off_the_grid_of_1200_m_that_overlap(scene):
    random = np.random.default_rng(1)
    places = {(int(r) * 6, int(c) * 6) for r, c in random.integers(0, (170, 180), (60, 2))}
    patches = [LocatedPatch(f"{r}_{c}", "", c, r) for r, c in sorted(places)]
    check(scene, patches, (*NATIVE_KEYS, "data_super"))


def test_bands_of_10_m_are_the_products_own_in_a_real_tile(sample, tmp_path):
    # Taken from the tile: this is the promise of `sharpen` that makes it right.
    import decametre

    options = {"model": "bicubic", "self_check": False}
    decametre.sharpen(sample, tmp_path / "part.tif", window=(120, 60, 120, 120), **options)
    source = CuttingSource(
        sample, open_sharpened(tmp_path / "part.tif"), (*NATIVE_KEYS, "data_super")
    )
    assert source.extent == Window(120, 60, 120, 120)
    patches = [LocatedPatch("a", "a", 120, 60)]
    ((patch,),) = cut_patches(source, patches)
    ((native,),) = cut_patches(CuttingSource(sample, None, NATIVE_KEYS), patches)
    for key in NATIVE_KEYS:
        np.testing.assert_array_equal(patch.data[key], native.data[key])
    places = [BAND_NAMES.index(name) for name in FINE]
    np.testing.assert_array_equal(patch.data["data_super"][places], patch.data["data_10m"])
    # The sharpened bands look like the measured ones.
    coarse = patch.data["data_super"][BAND_NAMES.index("B11")].reshape(60, 2, 60, 2).mean((1, 3))
    measured = patch.data["data_20m"][LAYOUTS["data_20m"].bands.index("B11")]
    assert np.corrcoef(coarse.ravel(), measured.ravel())[0, 1] > 0.99


def test_patches_without_data_are_skipped(tmp_path):
    from decametre.bench.synthetic_safe import make_safe
    from tests.landcover.extraction.scenes import pixels

    bands = pixels(360, 120)
    for name, image in bands.items():
        edge = image.shape[0]
        image[:, edge : 2 * edge] = 0
        # One pixel of one band is data enough.
        image[:, 2 * edge :] = 0
        if name == "B09":
            image[-1, -1] = 1
    product = open_product(str(make_safe(tmp_path, bands)))
    source = CuttingSource(product, None, NATIVE_KEYS)
    (row,) = cut_patches(source, CompleteGrid().locate(product).patches)
    assert [patch.name[-5:] for patch in row] == ["00_00", "02_00"]


def test_sources_that_do_not_fit(scene, sample):
    product, _, tile, _ = scene
    with pytest.raises(PatchError, match=r"was made from S2A.*, not from other"):
        CuttingSource(replace(product, id="other"), tile, ("data_super",))
    bare = replace(product, bands=with_radiometry(product, offset=0.0))
    with pytest.raises(PatchError, match="band B01 has offset -1000 DN"):
        CuttingSource(bare, tile, ("data_super",))
    moved = replace(product, grid=replace(product.grid, left=product.grid.left + 5))
    with pytest.raises(GridError, match="off the pixels"):
        CuttingSource(moved, tile, ("data_super",))
    other = replace(sample, bands=with_radiometry(sample, scale=1e-3))
    with pytest.raises(RadiometryError, match=r"band B01 has scale 0\.001"):
        CuttingSource(other, None, NATIVE_KEYS)


def with_radiometry(product, **facts):
    return {n: replace(f, radiometry=Radiometry(**facts)) for n, f in product.bands.items()}


def test_a_truncated_tile(tmp_path):
    safe, bands = made_product(tmp_path)
    path = tmp_path / "tile.tif"
    made_tile(path, safe, bands)
    content = path.read_bytes()
    tile = open_sharpened(path)
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    product = open_product(str(safe))
    with pytest.raises(CorruptDataError, match=r"tile\.tif"):
        list(
            cut_patches(
                CuttingSource(product, tile, ("data_super",)),
                CompleteGrid().locate(product).patches,
            )
        )
