"""Tiled = untiled, and nodata that stays where it is: on real pixels."""

import dataclasses

import numpy as np
import pytest
import rasterio
import torch

from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import BandFile, Product
from decametre.sentinel2.radiometry import NODATA, SATURATED, Radiometry
from decametre.superres.models.card import Card
from decametre.superres.models.registry import BANDS_FOR_SCALE, build, models_for, save_model
from decametre.superres.sharpening.adaptation import adapt_models
from decametre.superres.sharpening.pipeline import sharpen_windows
from decametre.superres.sharpening.sharpener import Sharpener

CPU = torch.device("cpu")

UNTILED = 10_000
"""The size of a tile that holds any product of these tests."""


def crop(product: Product, folder, window: Window, spoil=None, offset=0.0) -> Product:
    """A window of a product as a product of its own.

    `spoil(name, dn)` may change each band's pixels in place; `offset` shifts its radiometry.
    """
    files = {}
    for name, file in product.bands.items():
        factor = ALL_BANDS[name].gsd // 10
        with rasterio.open(file.path) as source:
            rows, cols = window.coarsened(factor).slices
            dn = source.read(1)[rows, cols]
            profile = source.profile
        if spoil:
            spoil(name, dn)
        profile.update(height=dn.shape[0], width=dn.shape[1], driver="GTiff", tiled=False)
        profile["transform"] = rasterio.Affine(*product.grid.crop(window).transform(10 * factor))
        profile = {k: v for k, v in profile.items() if "block" not in k}
        path = folder / f"{name}.tif"
        with rasterio.open(path, "w", **profile) as target:
            target.write(dn, 1)
        files[name] = BandFile(file.band, str(path), Radiometry(offset=offset))
    return dataclasses.replace(product, grid=product.grid.crop(window), bands=files)


def sharpen_all(
    product, tile, *, models=(), consistent=False, bands=BAND_NAMES, devices=1, bicubic=()
):
    """A complete product, cut into tiles: DN and reflectance of each band, and residual sums."""
    models, _ = adapt_models(models_for(bands, models), product)
    sharpeners = [Sharpener(models, bands, CPU, torch.float32, consistent) for _ in range(devices)]
    for sharpener in sharpeners:
        sharpener.bicubic_bands = frozenset(bicubic)
    shape = product.grid.shape()
    dn = {name: np.full(shape, 77, np.uint16) for name in bands}
    reflectance = {n: np.zeros(shape, np.float32) for n in bands if ALL_BANDS[n].gsd > 10}
    squares: dict[str, torch.Tensor] = {}
    for piece in sharpen_windows(product, product.grid.window, sharpeners, tile):
        for name in bands:
            dn[name][piece.core.slices] = piece.dn[name]
        for name in reflectance:
            reflectance[name][piece.core.slices] = piece.reflectance[name]
        for name, sums in piece.residuals.items():
            squares[name] = squares.get(name, 0) + sums.squares
    return dn, reflectance, squares


@pytest.fixture(scope="module")
def scene(sample, tmp_path_factory) -> Product:
    """A crop that is not square."""
    return crop(sample, tmp_path_factory.mktemp("scene"), Window(60, 120, 318, 216))


@pytest.fixture(scope="module")
def whole(scene):
    """The result of the default networks in one tile."""
    return sharpen_all(scene, UNTILED)


def save_random(folder, family, scale, config, **changes):
    """Save a network with random weights that change the image; its folder."""
    card = Card(f"s{scale}x", family, config, BANDS_FOR_SCALE[scale], margin=0, **changes)
    torch.manual_seed(scale)
    network = build(card)
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    if "attention" in config or family == "rsa":
        torch.nn.init.constant_(network.trunk[1].gamma, 1)
    save_model(folder, card, network)
    return str(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Small networks for both scales, for what does not depend on the weights."""
    return [
        save_random(tmp_path_factory.mktemp("small"), "native", scale, {"width": 16, "blocks": 1})
        for scale in (2, 6)
    ]


@pytest.fixture(scope="module")
def small_whole(scene, small):
    return sharpen_all(scene, UNTILED, models=small)


def test_tiles_on_two_devices_equal_the_untiled_result(scene, whole):
    dn, reflectance, squares = sharpen_all(scene, 162, devices=2)
    for name in BAND_NAMES:
        assert np.abs(dn[name].astype(int) - whole[0][name]).max() <= (ALL_BANDS[name].gsd > 10)
    for name, image in reflectance.items():
        np.testing.assert_allclose(image, whole[1][name], atol=2e-6)
    for name in squares:
        torch.testing.assert_close(squares[name], whole[2][name], rtol=1e-4, atol=0)


def test_each_window_is_sharpened_once(scene, small):
    models = models_for(BAND_NAMES, small)
    both = [Sharpener(models, BAND_NAMES, CPU, torch.float32) for _ in range(2)]
    pieces = list(sharpen_windows(scene, scene.grid.window, both, 102))
    assert len(pieces) == len({piece.core for piece in pieces}) == 12


@pytest.mark.parametrize("consistent", [False, True])
def test_tiled_equals_untiled_with_gaps(sample, tmp_path, small, consistent):
    product = crop(sample, tmp_path, Window(60, 120, 318, 216), swath)
    one, other = (
        sharpen_all(product, size, models=small, consistent=consistent) for size in (UNTILED, 102)
    )
    for name, image in one[1].items():
        np.testing.assert_allclose(image, other[1][name], atol=3e-6)
        np.testing.assert_array_equal(one[0][name] == NODATA, other[0][name] == NODATA)


@pytest.fixture(scope="module", params=["rsa", "native"])
def attentive(request, tmp_path_factory):
    """Networks with attention for both scales, of random weights: folders by scale."""
    folders = {}
    for scale, window in ((2, 8), (6, 3)):
        own = {
            "rsa": {"key_width": 4, "window": window},
            "native": {"attention": window, "bias": False},
        }
        config = {"width": 16, "blocks": 2} | own[request.param]
        folder = tmp_path_factory.mktemp("attentive")
        folders[scale] = save_random(folder, request.param, scale, config)
    return folders


@pytest.mark.parametrize("scale", [2, 6])
@pytest.mark.parametrize("consistent", [False, True])
def test_tiled_equals_untiled_with_attention(sample, tmp_path, attentive, scale, consistent):
    """Neither tiles nor product are whole windows, and a swath's edge runs through it."""
    product = crop(sample, tmp_path, Window(60, 120, 150, 114), swath_of(40))
    bands = BANDS_FOR_SCALE[scale][10 * scale]
    options = {"models": [attentive[scale]], "consistent": consistent, "bands": bands}
    one, other = (sharpen_all(product, tile, **options)[1] for tile in (UNTILED, 66))
    for name, image in one.items():
        np.testing.assert_allclose(image, other[name], atol=3e-6)


@pytest.mark.parametrize("scale", [2, 6])
def test_tiled_equals_untiled_with_a_projection_in_the_network(sample, tmp_path, scale):
    product = crop(sample, tmp_path, Window(60, 120, 150, 114), swath_of(40))
    bands = BANDS_FOR_SCALE[scale][10 * scale]
    config = {"width": 16, "blocks": 1}
    card = Card("mine", "native", config, BANDS_FOR_SCALE[scale], margin=0, projection="mtf")
    save_model(tmp_path / "mine", card, build(card))
    one, other = (
        sharpen_all(product, tile, models=[str(tmp_path / "mine")], bands=bands)
        for tile in (UNTILED, 54)
    )
    for name, image in one[1].items():
        np.testing.assert_allclose(image, other[1][name], atol=2e-6)
    plain = sharpen_all(product, UNTILED, models=["bicubic"], bands=bands)
    for name in one[2]:
        assert (one[2][name] < 0.1 * plain[2][f"bicubic_{scale}x"]).all()


def test_tiled_equals_untiled_with_local_regressions(sample, tmp_path):
    """Windows of examples end at a swath's edge and at the product's, and nowhere else."""
    product = crop(sample, tmp_path, Window(60, 120, 240, 114), swath_of(40))
    bands = BANDS_FOR_SCALE[6][60]
    regressions = [
        {"radius": 4, "ridge": 1e-2},
        {"radius": 3, "ridge": 1e-1, "gain": 0.3, "softened": True},
    ]
    config = {"width": 16, "blocks": 1, "regressions": regressions}
    models = [save_random(tmp_path / "mine", "guided", 6, config)]
    one, other = (
        sharpen_all(product, tile, models=models, bands=bands)[1] for tile in (UNTILED, 66)
    )
    for name, image in one.items():
        np.testing.assert_allclose(image, other[name], atol=3e-6)


@pytest.mark.parametrize("scale", [2, 6])
def test_attention_is_what_makes_the_difference(sample, tmp_path, attentive, scale):
    """Without gamma the test above would hold for a network that ignores its windows."""
    product = crop(sample, tmp_path, Window(60, 120, 150, 114))
    bands = BANDS_FOR_SCALE[scale][10 * scale]
    models = models_for(bands, [attentive[scale]])
    found = []
    for gamma in (1.0, 0.0):
        torch.nn.init.constant_(models[0].network.trunk[1].gamma, gamma)
        sharpener = Sharpener(models, bands, CPU, torch.float32)
        (piece,) = sharpen_windows(product, product.grid.window, [sharpener])
        found.append(piece.reflectance[bands[0]])
    assert np.abs(found[0] - found[1]).mean() > 1e-3


def test_ten_metre_bands_pass_bit_for_bit(scene, whole):
    for name in ("B02", "B03", "B04", "B08"):
        with rasterio.open(scene.bands[name].path) as source:
            np.testing.assert_array_equal(source.read(1), whole[0][name])


def test_sharpened_bands_keep_the_scene_s_level(scene, whole):
    """Mean over a coarse pixel stays close to what was measured: nothing is shifted or scaled."""
    for name, band in ALL_BANDS.items():
        if band.gsd > 10:
            factor = band.gsd // 10
            with rasterio.open(scene.bands[name].path) as source:
                measured = source.read(1).astype(float)
            rows, cols = measured.shape
            means = whole[0][name].reshape(rows, factor, cols, factor).mean(axis=(1, 3))
            assert abs(means.mean() - measured.mean()) < 0.01 * measured.mean()
            assert np.corrcoef(means.ravel(), measured.ravel())[0, 1] > 0.97


def test_the_offset_shifts_dn_and_nothing_else(sample, tmp_path, small, small_whole):
    def shift(name, dn):
        dn += 1000

    shifted = crop(sample, tmp_path, Window(60, 120, 318, 216), shift, offset=-0.1)
    dn, reflectance, _ = sharpen_all(shifted, UNTILED, models=small)
    for name, image in reflectance.items():
        np.testing.assert_allclose(image, small_whole[1][name], atol=2e-6)
        # An unshifted value below DN 1 is clipped there; the shifted one has room.
        free = small_whole[0][name] > 1
        difference = dn[name].astype(int) - small_whole[0][name]
        assert np.abs(difference[free] - 1000).max() <= 1


def hole(name, dn):
    """A square of 60 x 60 m without data in every band."""
    factor = ALL_BANDS[name].gsd // 10
    dn[96 // factor : 102 // factor, 120 // factor : 126 // factor] = NODATA


def swath_of(top):
    """Nothing below a diagonal from `top` on the left, in 10 m pixels: the edge of a swath."""

    def spoil(name, dn):
        step = ALL_BANDS[name].gsd
        rows, cols = np.indices(dn.shape)
        dn[(rows + 0.5) * step > 10 * top + 0.3 * (cols + 0.5) * step] = NODATA

    return spoil


swath = swath_of(130)


@pytest.mark.parametrize("gap", [NODATA, SATURATED])
def test_gaps_are_restored_and_do_not_spread(sample, tmp_path, whole, gap):
    """Wherever a band has data, it gets a value near the one that it has without the gaps."""

    def spoiled(name, dn):
        hole(name, dn)
        swath(name, dn)
        dn[dn == NODATA] = gap

    product = crop(sample, tmp_path, Window(60, 120, 318, 216), spoiled)
    dn, reflectance, _ = sharpen_all(product, UNTILED)
    for name, band in ALL_BANDS.items():
        factor = band.gsd // 10
        with rasterio.open(product.bands[name].path) as source:
            lost = np.kron(source.read(1) == gap, np.ones((factor, factor), bool))
        assert lost.any()
        np.testing.assert_array_equal(dn[name] == gap, lost)
        if band.gsd > 10:
            assert np.isnan(reflectance[name][lost]).all()
            error = np.abs(reflectance[name] - whole[1][name])[~lost]
            spread = whole[1][name].std()
            assert np.sqrt((error**2).mean()) < 0.15 * spread
            assert error.max() < 6 * spread


def test_a_gap_only_affects_the_receptive_field(sample, tmp_path, small, small_whole):
    product = crop(sample, tmp_path, Window(60, 120, 318, 216), hole)
    reflectance = sharpen_all(product, UNTILED, models=small)[1]
    for model in models_for(BAND_NAMES, small):
        reach = model.card.margin * model.card.scale
        near = np.zeros(product.grid.shape(), bool)
        near[96 - reach : 102 + reach, 120 - reach : 126 + reach] = True
        for name in model.card.bands_out:
            expected = small_whole[1][name]
            np.testing.assert_allclose(reflectance[name][~near], expected[~near], atol=2e-6)


def test_an_empty_product_stays_empty(sample, tmp_path):
    def wipe(name, dn):
        dn[:] = NODATA

    dn, reflectance, squares = sharpen_all(crop(sample, tmp_path, Window(0, 0, 120, 60), wipe), 60)
    assert all((image == NODATA).all() for image in dn.values())
    assert all(np.isnan(image).all() for image in reflectance.values())
    assert all(float(sums.sum()) == 0 for sums in squares.values())


def test_snow_and_cloud_are_kept(sample, tmp_path):
    def brighten(name, dn):
        np.minimum(dn.astype(np.uint32) * 8, 28000, out=dn, casting="unsafe")

    product = crop(sample, tmp_path, Window(0, 0, 120, 120), brighten)
    dn, _, _ = sharpen_all(product, UNTILED)
    with rasterio.open(product.bands["B8A"].path) as source:
        measured = source.read(1).astype(float)
    assert measured.mean() > 10_000
    assert abs(dn["B8A"].mean() - measured.mean()) < 0.03 * measured.mean()


def test_a_consistent_result_reproduces_the_input(scene, small, small_whole):
    projected = sharpen_all(scene, UNTILED, models=small, consistent=True)[2]
    for name, squares in small_whole[2].items():
        assert (projected[name] < 0.05 * squares).all()


def test_bfloat16_is_close_to_float32(sample, tmp_path):
    product = crop(sample, tmp_path, Window(60, 120, 60, 60))
    models, _ = adapt_models(models_for(BAND_NAMES), product)
    pieces = [
        next(sharpen_windows(product, product.grid.window, [sharpener], UNTILED))
        for sharpener in (
            Sharpener(models, BAND_NAMES, CPU, precision)
            for precision in (torch.float32, torch.bfloat16)
        )
    ]
    for name, image in pieces[0].reflectance.items():
        error = np.sqrt(((image - pieces[1].reflectance[name]) ** 2).mean())
        assert error < 10e-4, f"{name}: {error * 1e4:.1f} DN"
