"""The standard deviations of a sharpened product."""

import json

import numpy as np
import pystac
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

import decametre
from decametre.errors import ModelError
from decametre.superres.models.registry import load_model, save_model

BANDS = ("B01", "B04", "B09")
WINDOW = (120, 60, 180, 120)


@pytest.fixture(scope="module")
def result(sample, tmp_path_factory):
    output = tmp_path_factory.mktemp("result") / "sharp.tif"
    return decametre.sharpen(sample, output, window=WINDOW, bands=BANDS, uncertainty=True)


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_the_file_has_a_band_for_each_sharpened_band(result):
    assert result.uncertainty_path.name == "sharp.uncertainty.tif"
    valid, errors, warnings = cog_validate(result.uncertainty_path, strict=True)
    assert valid, errors + warnings
    with rasterio.open(result.uncertainty_path) as cog, rasterio.open(result.path) as image:
        assert cog.descriptions == ("B01", "B09")
        assert (cog.dtypes, cog.nodata) == (("uint16",) * 2, 0)
        assert (cog.scales, cog.offsets) == ((1e-4,) * 2, (0.0,) * 2)
        assert (cog.transform, cog.shape) == (image.transform, image.shape)
        deviations = cog.read()
    # Errors of a sharpened band are some DN to some hundred DN.
    assert ((deviations >= 1) & (deviations < 1000)).all()
    assert deviations.std(axis=(1, 2)).min() > 1


def test_item_and_card_describe_it(result):
    item = pystac.Item.from_file(str(result.item_path))
    asset = item.assets["uncertainty"]
    assert asset.href == "./sharp.uncertainty.tif"
    assert [band["name"] for band in asset.extra_fields["bands"]] == ["B01", "B09"]
    models = result.quality["models"]
    section = models["native_6x"]["uncertainty"]
    assert section["model"] == "uncertainty_6x"
    for factors in section["intervals"].values():
        assert list(factors) == ["50", "80", "90", "95"]
        assert factors["50"] < 1 < factors["90"]


def test_the_image_is_the_same_with_and_without(sample, result, tmp_path):
    alone = decametre.sharpen(sample, tmp_path / "sharp.tif", window=WINDOW, bands=BANDS)
    assert alone.uncertainty_path is None
    assert not (tmp_path / "sharp.uncertainty.tif").exists()
    # Windows are larger with deviations, and convolutions of other shapes round differently.
    assert np.abs(read(alone.path).astype(int) - read(result.path)).max() <= 1
    assert alone.quality["models"]["native_6x"]["uncertainty"] is None


def test_deviations_do_not_depend_on_the_tiling(sample, result, tmp_path):
    tiled = decametre.sharpen(
        sample, tmp_path / "tiled.tif", window=WINDOW, bands=BANDS, uncertainty=True, tile=60
    )
    found, expected = read(tiled.uncertainty_path), read(result.uncertainty_path)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.fixture(scope="module")
def images(sample):
    found = {}
    for name, file in sample.bands.items():
        with rasterio.open(file.path) as source:
            found[name] = source.read(1)
    return found


def test_arrays_have_deviations(images, result):
    arrays = decametre.sharpen_arrays(
        images, bands=BANDS, window=WINDOW, offset="none", uncertainty=True
    )
    assert list(arrays.deviations) == ["B01", "B09"]
    assert np.array_equal(np.stack(list(arrays.deviations.values())), read(result.uncertainty_path))


def test_unknown_deviations_are_nodata(images):
    b09 = images["B09"].copy()
    b09[:, 30:] = 0
    arrays = decametre.sharpen_arrays(
        images | {"B09": b09}, bands=["B09"], window=WINDOW, offset="none", uncertainty=True
    )
    deviation, image = arrays.deviations["B09"], arrays.bands["B09"]
    assert np.array_equal(deviation == 0, image == 0)
    assert (image == 0).any()
    assert (image > 0).any()


def test_reflectance_has_nan(sample, tmp_path):
    result = decametre.sharpen(
        sample,
        tmp_path / "sharp.tif",
        window=(0, 0, 60, 60),
        bands=["B09"],
        uncertainty=True,
        encoding="reflectance",
    )
    [deviation] = read(result.uncertainty_path)
    assert deviation.dtype == np.float32
    assert (deviation > 0).all()
    assert deviation.max() < 0.1


def test_a_model_without_an_uncertainty_is_refused(sample, tmp_path):
    model = load_model("native_6x")
    model.network.selectivity.data += 1
    save_model(tmp_path / "own", model.card, model.network)
    with pytest.raises(ModelError, match="recipe uncertainty_6x"):
        decametre.sharpen(
            sample,
            tmp_path / "sharp.tif",
            window=(0, 0, 60, 60),
            bands=["B09"],
            model=str(tmp_path / "own"),
            uncertainty=True,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_untrained_models_have_none(sample, tmp_path):
    result = decametre.sharpen(
        sample,
        tmp_path / "sharp.tif",
        window=(0, 0, 60, 60),
        bands=["B05", "B09"],
        model=["bicubic_2x"],
        uncertainty=True,
    )
    with rasterio.open(result.uncertainty_path) as cog:
        assert cog.descriptions == ("B09",)
    assert (
        json.loads(result.quality_path.read_text())["models"]["bicubic_2x"]["uncertainty"] is None
    )


@pytest.mark.parametrize("options", [{"bands": ["B02"]}, {"bands": ["B05"], "model": ["bicubic"]}])
def test_without_a_trained_model_there_is_no_uncertainty(sample, tmp_path, options):
    with pytest.raises(ModelError, match="no other model is used; remove it"):
        decametre.sharpen(
            sample, tmp_path / "sharp.tif", window=(0, 0, 60, 60), uncertainty=True, **options
        )
    assert not list(tmp_path.iterdir())
