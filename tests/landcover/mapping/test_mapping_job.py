"""Land-cover maps: equal to predictions for patches of a store; complete files or none."""

import json
import shutil

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from rasterio.warp import transform_geom
from rio_cogeo.cogeo import cog_validate

import decametre
from decametre import api
from decametre.bench.synthetic_safe import make_safe
from decametre.errors import DecametreError, EvaluationError
from decametre.landcover.models.card import load_land_cover, save_land_cover, store_thresholds
from decametre.landcover.models.classifier import predict_patches
from decametre.landcover.patches.images import images_of
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, Nomenclature
from decametre.landcover.patches.store import PatchStore
from tests.landcover.extraction.scenes import made_product, pixels
from tests.landcover.models.tiny_model import NATIVE, SHARPENED, tiny_model

NAMES = BIGEARTHNET19.classes
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("landcover")


@pytest.fixture(scope="module")
def model(folder):
    return tiny_model(folder / "tiny")


@pytest.fixture(scope="module")
def store(folder, sample_item):
    """What `patches extract` cuts from the sample, as measured and sharpened."""
    models = ["bicubic_2x", "bicubic_6x"]
    path = folder / "patches.h5"
    api.extract_patches(sample_item, path, sharpen=True, model=models, workers=1)
    return PatchStore(path)


def probabilities(path):
    """(rows, columns, classes)."""
    with rasterio.open(path) as dataset:
        return dataset.read().transpose(1, 2, 0)


def of_store(store, model):
    loaded = load_land_cover(model)
    images = images_of(loaded.card.bands_in, store, sharpened=loaded.card.sharpened)
    found = predict_patches(loaded.network, store, np.arange(len(store)), images, CPU)
    return found.scores.reshape(5, 5, -1)


def test_a_pixel_equals_the_prediction_for_the_patch_cut_there(
    folder, store, model, sample_item, sample
):
    assert len(store) == 25
    result = api.predict_land_cover(sample_item, folder / "native.tif", model)
    found = probabilities(result.path)
    np.testing.assert_allclose(found, of_store(store, model), rtol=0, atol=1e-6)
    assert found.std(axis=(0, 1)).max() > 0.05  # the patches differ, so a wrong place would show
    with rasterio.open(result.path) as dataset:
        assert dataset.descriptions == NAMES
        assert dataset.crs == sample.grid.crs
        assert tuple(dataset.transform)[:6] == (
            1200,
            0,
            sample.grid.left,
            0,
            -1200,
            sample.grid.top,
        )
        assert np.isnan(dataset.nodata)
    origins = store.column("origin").reshape(5, 5, 2)
    assert origins[3, 1].tolist() == [sample.grid.left + 1200, sample.grid.top - 3600]
    assert (result.patches, result.without_data) == (25, 0)


def test_a_model_of_sharpened_images_gets_those_of_the_store(folder, store, sample_item, caplog):
    model = tiny_model(folder / "fine", bands_in=SHARPENED, sharpened_by=store.model)
    truth = of_store(store, model)
    on_the_way = api.predict_land_cover(sample_item, folder / "way.tif", model)
    np.testing.assert_allclose(probabilities(on_the_way.path), truth, rtol=0, atol=1e-6)
    item = json.loads(on_the_way.item_path.read_text())
    assert item["properties"]["decametre:land_cover"]["sharpened_by"] == store.model
    tile = api.sharpen(sample_item, folder / "sharp.tif", model=["bicubic_2x", "bicubic_6x"])
    given = api.predict_land_cover(sample_item, folder / "tile.tif", model, sharpened=tile.path)
    np.testing.assert_array_equal(probabilities(given.path), probabilities(on_the_way.path))
    assert "these are by" not in caplog.text
    # Another model's images are not the same.
    other = api.predict_land_cover(
        sample_item, folder / "other.tif", model, sharpen_with=["regression_2x", "regression_6x"]
    )
    assert "these are by regression_2x" in caplog.text
    assert np.abs(probabilities(other.path) - truth).max() > 1e-4


def test_pixels_are_as_large_as_the_stride_and_centred_on_their_patches(
    folder, model, sample_item, sample
):
    whole = api.predict_land_cover(sample_item, folder / "whole.tif", model)
    dense = api.predict_land_cover(sample_item, folder / "dense.tif", model, stride=300)
    found = probabilities(dense.path)
    assert found.shape == (17, 17, 19)
    np.testing.assert_allclose(found[::4, ::4], probabilities(whole.path), rtol=0, atol=1e-6)
    with rasterio.open(whole.path) as one, rasterio.open(dense.path) as other:
        assert one.xy(2, 3) == other.xy(8, 12)
        assert other.res == (300, 300)
    # A window's patches are counted from its own corner.
    part = api.predict_land_cover(
        sample_item, folder / "part.tif", model, stride=60, window=(30, 60, 150, 126)
    )
    with rasterio.open(part.path) as dataset:
        assert dataset.shape == (2, 6)
        assert dataset.xy(0, 0) == (sample.grid.left + 300 + 600, sample.grid.top - 600 - 600)
    np.testing.assert_allclose(probabilities(part.path)[0, 0], found[2, 1], rtol=0, atol=1e-6)


def test_the_offset_of_a_product_does_not_matter(folder, model):
    bands = pixels(240, 240, seed=5)
    names = {}
    for offset in (0, -1000):
        safe, _ = made_product(folder / f"offset{offset}", 240, 240, seed=5, offset_dn=offset)
        names[offset] = safe
    raised = folder / "raised"
    raised.mkdir()
    added = {name: band + np.uint16(1000) for name, band in bands.items()}
    same = make_safe(raised, added, level="L2A", offset_dn=-1000)
    maps = [
        probabilities(api.predict_land_cover(safe, folder / f"o{at}.tif", model).path)
        for at, safe in enumerate((names[0], same, names[-1000]))
    ]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 0.01


def test_patches_with_too_little_data_become_nodata(folder, model):
    bands = pixels(360, 240, seed=6)
    bands["B02"][:, :120] = 0  # all of the first column
    bands["B01"][:5, 20:40] = 0  # a quarter of the second
    bands["B05"][0, 120] = 0  # one pixel of the third
    (folder / "gaps").mkdir()
    safe = make_safe(folder / "gaps", bands, level="L2A")
    result = api.predict_land_cover(safe, folder / "gaps.tif", model)
    found = np.isnan(probabilities(result.path)).all(axis=2)
    assert found.tolist() == [[True, True, False], [True, False, False]]
    assert (result.patches, result.without_data) == (3, 3)
    with rasterio.open(result.classes_path) as dataset:
        assert ((dataset.read(1) == 255) == found).all()
    places = [
        (f["properties"]["row"], f["properties"]["column"])
        for f in json.loads(result.features_path.read_text())["features"]
    ]
    assert places == [(0, 2), (1, 1), (1, 2)]
    more = api.predict_land_cover(
        safe, folder / "more.tif", model, least_data=0.7, encoding="percent", geojson=False
    )
    with rasterio.open(more.path) as dataset:
        percent = dataset.read().transpose(1, 2, 0)
        assert dataset.dtypes[0] == "uint8"
        assert dataset.nodata == 255
        assert dataset.scales[0] == 0.01
    assert (percent == 255).all(axis=2).tolist() == [[True, False, False], [True, False, False]]
    known = ~found
    expected = np.rint(100 * probabilities(result.path)[known])
    np.testing.assert_array_equal(percent[known], expected)
    assert more.features_path is None
    assert not (folder / "more.geojson").exists()
    empty = api.predict_land_cover(safe, folder / "empty.tif", model, window=(0, 0, 120, 240))
    assert empty.patches == 0


def test_classes_have_colours_and_names_and_patches_are_features(folder, sample_item, sample):
    model = tiny_model(folder / "named")
    values = {name: 0.2 + 0.03 * at for at, name in enumerate(NAMES)}
    store_thresholds(model, {"rule": "per_class", "values": values, "untuned": []})
    result = api.predict_land_cover(sample_item, folder / "named.tif", model)
    found = probabilities(result.path)
    with rasterio.open(result.classes_path) as dataset:
        classes, table = dataset.read(1), dataset.colormap(1)
        assert dataset.nodata == 255
    np.testing.assert_array_equal(classes, found.argmax(axis=2))
    assert table[NAMES.index("Coniferous forest")] == (0, 166, 0, 255)
    assert table[NAMES.index("Urban fabric")] == (230, 0, 77, 255)
    rasterio.shutil.copy(result.classes_path, folder / "seen.vrt", driver="VRT")
    seen = (folder / "seen.vrt").read_text()
    assert all(f"<Category>{name}</Category>" in seen for name in NAMES)

    features = json.loads(result.features_path.read_text())["features"]
    assert len(features) == 25
    grid = sample.grid
    for feature, scores in zip(features, found.reshape(25, -1), strict=True):
        properties = feature["properties"]
        assert properties["classes"] == [
            name for name, score in zip(NAMES, scores, strict=True) if score >= values[name]
        ]
        assert properties["most_probable"] == NAMES[scores.argmax()]
        assert list(properties["probabilities"]) == list(NAMES)
        np.testing.assert_allclose(list(properties["probabilities"].values()), scores, atol=5.1e-5)
        ring = transform_geom("EPSG:4326", grid.crs, feature["geometry"])["coordinates"][0]
        west, north = np.array(ring).min(axis=0)[0], np.array(ring).max(axis=0)[1]
        expected = grid.left + 1200 * properties["column"], grid.top - 1200 * properties["row"]
        np.testing.assert_allclose((west, north), expected, atol=0.1)

    item = json.loads(result.item_path.read_text())
    assert [band["name"] for band in item["assets"]["data"]["bands"]] == list(NAMES)
    legend = item["assets"]["classes"]["classification:classes"]
    assert [entry["count"] for entry in legend] == np.bincount(
        classes.ravel(), minlength=19
    ).tolist()
    about = item["properties"]["decametre:land_cover"]
    assert about["patches"] == 25
    assert about["thresholds"]["values"] == values
    for entry in item["assets"].values():
        assert (folder / entry["href"]).is_file()
    for path in (result.path, result.classes_path):
        assert cog_validate(path)[0]


def test_the_same_bytes_every_time(folder, model, sample_item):
    options = {"stride": 600, "window": (0, 0, 240, 180)}
    first = api.predict_land_cover(sample_item, folder / "again.tif", model, **options)
    paths = (first.path, first.classes_path, first.features_path, first.item_path)
    before = [path.read_bytes() for path in paths]
    with pytest.raises(DecametreError, match="exists already"):
        api.predict_land_cover(sample_item, folder / "again.tif", model)
    options["overwrite"] = True
    api.predict_land_cover(sample_item, folder / "again.tif", model, **options)
    assert [path.read_bytes() for path in paths] == before
    api.predict_land_cover(sample_item, folder / "again.tif", model, geojson=False, **options)
    assert not first.features_path.exists()  # it would describe another map


def test_a_run_that_fails_leaves_nothing(folder, model, sample_item, tmp_path):
    def stop(done, total, patches):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.predict_land_cover(sample_item, tmp_path / "x.tif", model, progress=stop)
    loaded = load_land_cover(model)
    with torch.no_grad():
        loaded.network.head.bias[3] = torch.nan
    save_land_cover(tmp_path / "broken", loaded.card, loaded.network)
    with pytest.raises(EvaluationError, match="not finite"):
        api.predict_land_cover(sample_item, tmp_path / "x.tif", tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stride": 90}, "stride: must be a multiple of 60, not 90"),
        ({"stride": 1260}, "must be less than or equal to 1200"),
        ({"stride": 0}, "must be greater than or equal to 60"),
        ({"window": (0, 0, 120, 60)}, "smaller than a patch"),
        ({"sharpen_with": "bicubic"}, "trained on bands as measured"),
        ({"encoding": "percents"}, "did you mean percent"),
        ({"output": "x.png"}, "ends in .tif"),
        ({"bands_in": SHARPENED}, "does not state which models sharpened"),
        ({"bands_in": SHARPENED, "sharpened_by": "mine sha256:00"}, "does not come with"),
        ({"bands_in": SHARPENED, "sharpened_by": "native_2x sha256:00"}, "but here is native_2x"),
    ],
)
def test_mistakes(changes, expected, sample_item, tmp_path):
    changes = dict(changes)
    fields = {key: changes.pop(key) for key in ("bands_in", "sharpened_by") if key in changes}
    tiny = tiny_model(tmp_path / "tiny", **{"bands_in": NATIVE} | fields)
    output = tmp_path / changes.pop("output", "x.tif")
    with pytest.raises(DecametreError, match=expected):
        api.predict_land_cover(sample_item, output, tiny, **changes)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_input_is_never_overwritten(sample_item, model, tmp_path):
    for path in (sample_item, *[b.path for b in decametre.open(sample_item).bands.values()]):
        shutil.copy(path, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DecametreError, match="would overwrite the input"):
        api.predict_land_cover(tmp_path / "item.json", tmp_path / "item.tif", model, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_custom_nomenclature_has_distinct_colours(folder, sample_item):
    mine = Nomenclature("mine", ("water", "trees", "roofs"))
    model = tiny_model(folder / "mine", nomenclature=mine)
    result = api.predict_land_cover(sample_item, folder / "mine.tif", model)
    with rasterio.open(result.classes_path) as dataset:
        table = dataset.colormap(1)
    assert len({table[value] for value in range(3)}) == 3


def test_crop_leaves_patches_outside_the_area_of_interest_without_a_class(
    folder, model, sample_item, sample
):
    left, top = sample.grid.left + 10, sample.grid.top - 10
    # The centres of the first two patches of the first row are inside, and one of the second row.
    corners = [(0, 0), (3000, 0), (3000, 1100), (1200, 1100), (1200, 2700), (0, 2700), (0, 0)]
    area = f"SRID=32633;POLYGON (({', '.join(f'{left + x} {top - y}' for x, y in corners)}))"
    whole = api.predict_land_cover(sample_item, folder / "area.tif", model, aoi=area)
    cropped = api.predict_land_cover(
        sample_item, folder / "cropped.tif", model, aoi=area, crop=True, overwrite=True
    )
    before, after = probabilities(whole.path), probabilities(cropped.path)
    assert before.shape[:2] == (2, 2)
    expected = before.copy()
    expected[1, 1] = np.nan
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-6)  # other sizes of batches
    assert (cropped.patches, cropped.without_data) == (3, 1)
