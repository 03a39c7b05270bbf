"""Products that lack bands are sharpened as far as they go, and one line reports how."""

import dataclasses
import json

import numpy as np
import pytest
import rasterio

import decametre
from decametre.errors import MissingBandError
from decametre.sentinel2.bands import BAND_NAMES, bands_at


def without(product, *names):
    kept = {name: file for name, file in product.bands.items() if name not in names}
    missing = dict.fromkeys(names, "searched for x.jp2")
    return dataclasses.replace(product, bands=kept, missing=missing)


def sharpened(product, folder, **options):
    """The bands of the result, their descriptions, and the quality card."""
    path = folder / "sharp.tif"
    result = decametre.sharpen(
        product, path, window=(0, 0, 60, 60), precision="float32", self_check=False, **options
    )
    with rasterio.open(path) as dataset:
        return dict(zip(dataset.descriptions, dataset.read(), strict=True)), result.quality


@pytest.mark.parametrize(
    ("names", "models"),
    [
        (("B01", "B09"), ["native_2x"]),
        (("B8A",), ["regression_2x", "regression_6x"]),
        (("B01",), ["native_2x", "regression_6x"]),
        (bands_at(20), ["regression_6x"]),
        (bands_at(10), ["bicubic_2x", "bicubic_6x"]),
        (("B08",), ["regression_2x", "regression_6x"]),
    ],
)
def test_the_other_bands_are_written(sample, tmp_path, caplog, names, models):
    bands, quality = sharpened(without(sample, *names), tmp_path)
    expected = [name for name in BAND_NAMES if name not in names]
    assert list(bands) == expected
    assert list(quality["models"]) == models
    assert all(image.std() > 0 for image in bands.values())
    lines = [record for record in caplog.records if "has no" in record.message]
    assert len(lines) == 1
    assert f"has no {', '.join(names)}; " in lines[0].message
    assert f"bands of the result: {', '.join(expected)}" in lines[0].message


def test_remaining_bands_are_as_without_the_missing_ones(sample, tmp_path):
    (tmp_path / "a").mkdir()
    complete, _ = sharpened(sample, tmp_path / "a", bands=("B02", "B05", "B8A"))
    partial, _ = sharpened(without(sample, "B01", "B09"), tmp_path)
    for name in complete:
        np.testing.assert_array_equal(partial[name], complete[name])


def test_a_requested_band_that_is_missing_is_an_error_with_a_remedy(sample, tmp_path):
    with pytest.raises(MissingBandError, match=r"B8A is missing: searched .* give bands B05,B06"):
        sharpened(without(sample, "B8A"), tmp_path, bands=("B05", "B06", "B8A"))


def test_an_input_that_was_not_requested_may_be_missing(sample, tmp_path, caplog):
    bands, _ = sharpened(without(sample, "B08"), tmp_path, bands=("B05",))
    assert list(bands) == ["B05"]
    assert "regression_2x replaces native_2x" in caplog.text


def test_the_item_states_what_was_used(sample, tmp_path):
    sharpened(without(sample, "B01", "B09", "B8A"), tmp_path)
    item = json.loads((tmp_path / "sharp.json").read_text())
    settings = item["properties"]["decametre:settings"]
    assert settings["bands"] == [n for n in BAND_NAMES if n not in ("B01", "B09", "B8A")]
    assert list(settings["models"]) == ["regression_2x"]
