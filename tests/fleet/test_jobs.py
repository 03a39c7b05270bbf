"""The work of each verb: results equal those of the verb for one product, and settings."""

import json
import pickle
from pathlib import Path

import geopandas
import numpy as np
import pystac
import pytest
from shapely.geometry import box

from decametre import api
from decametre.errors import (
    DecametreError,
    FleetError,
    ModelError,
    PatchError,
    UnknownNameError,
)
from decametre.fleet import jobs as module
from decametre.fleet.completion import result_state
from decametre.fleet.inputs.product_entry import ProductEntry
from decametre.fleet.jobs import BASE_MEMORY, Extract, Predict, Sharpen
from decametre.fleet.worker import TaskRequest, run_task
from decametre.landcover.extraction.options import ExtractOptions
from decametre.landcover.mapping.options import PredictOptions
from decametre.landcover.patches.store import PatchStore
from decametre.sentinel2.bands import BAND_NAMES
from decametre.superres.sharpening.options import SharpenOptions
from decametre.version import __version__
from tests.landcover.models.tiny_model import SHARPENED, tiny_model
from tests.support.synthetic_products import make_products

SHARPEN = Sharpen(SharpenOptions(bands=("B05", "B01"), model="bicubic", device="cpu"))

AREA = (
    "SRID=32633;POLYGON ((300605 6199435, 301195 6199435, 301195 6198245, 300605 6198245, "
    "300605 6199435))"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def safe(sample, folder):
    """A product of 2 x 2 patches."""
    return make_products([sample], folder / "products", 1, 240)[0]


@pytest.fixture(scope="module")
def model(folder):
    return tiny_model(folder / "tiny")


def process(work, safe, out):
    """Process a product as a worker does; returns the journal fields and the result's folder."""
    out.mkdir(exist_ok=True)
    entry = ProductEntry("X", str(safe), 1000)
    settings = json.loads(json.dumps(work.settings()))  # as the driver sends them
    task = run_task(TaskRequest(work, settings, __version__, entry, str(out), None, 1))
    assert not task.failed, task.fields
    assert result_state(out, entry, settings).complete
    return task.fields, out / "X"


# Sharpen ----------------------------------------------------------------------------------------


def test_settings_of_sharpen_contain_all_that_changes_the_result():
    settings = SHARPEN.settings()
    assert settings["window"] is None
    assert set(settings["models"]) == {"bicubic_2x", "bicubic_6x"}

    def options(**changes):
        return Sharpen(SHARPEN.options.replaced(**changes)).settings()

    others = [
        options(bands=("B05",)),
        options(model=("regression",)),
        options(offset=-1000),
        options(offset="none"),
        options(precision="float32"),
        options(consistent=True),
        options(encoding="reflectance"),
        options(compression="zstd"),
        options(quicklook=True),
        options(masks="none"),
        options(mask_clouds=True),
        options(aoi=AREA),
        options(aoi=AREA, crop=True),
    ]
    assert settings not in others
    assert len({json.dumps(each) for each in others}) == len(others)
    for same in ({"tile": 60}, {"device": "auto"}, {"overwrite": True}):
        assert options(**same) == settings


def test_invalid_settings_of_sharpen():
    with pytest.raises(UnknownNameError):
        Sharpen(SHARPEN.options.replaced(model="nativ")).settings()
    with pytest.raises(DecametreError, match="lots"):
        SHARPEN.options.replaced(offset="lots")


def test_a_fleet_sharpens_an_area_of_interest(sample_item, folder):
    options = SHARPEN.options.replaced(bands=("B02", "B05"), aoi=AREA, crop=True)
    fields, result = process(Sharpen(options), sample_item, folder / "area")
    assert fields["pixels"] == 60 * 120
    alone = folder / "alone_area" / "X"
    alone.mkdir(parents=True)
    api.sharpen(sample_item, alone / "X.tif", options=options)
    for path in result.iterdir():
        assert path.read_bytes() == (alone / path.name).read_bytes(), path.name


def test_memory_grows_with_the_input_up_to_a_full_product():
    sizes = [0, 10**6, 10**7, 10**9]
    needs = [SHARPEN.memory(size) for size in sizes]
    assert needs == sorted(needs)
    assert BASE_MEMORY < needs[0] < needs[1] < needs[-1] == SHARPEN.memory(None)


# Predict ----------------------------------------------------------------------------------------


def test_predict_writes_the_same_files_as_landcover_predict(safe, model, folder):
    work = Predict(PredictOptions(model=model, device="cpu", precision="float32"))
    fields, result = process(work, safe, folder / "maps")
    assert (fields["device"], fields["pixels"], fields["already"]) == ("cpu", 57600, False)
    alone = folder / "alone" / "X"
    alone.mkdir(parents=True)
    api.predict_land_cover(safe, alone / "X.tif", model, device="cpu", precision="float32")
    assert {path.name for path in result.iterdir()} == {path.name for path in alone.iterdir()}
    for path in result.iterdir():
        assert path.read_bytes() == (alone / path.name).read_bytes(), path.name


def test_predict_from_a_scratch_folder(safe, model, folder, tmp_path):
    work = Predict(PredictOptions(model=model, device="cpu", precision="float32"))
    expected = process(work, safe, folder / "maps")[1]
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out").mkdir()
    entry, scratch = ProductEntry("X", str(safe), None), str(tmp_path / "scratch")
    request = TaskRequest(
        work, work.settings(), __version__, entry, str(tmp_path / "out"), scratch, 1
    )
    task = run_task(request)
    assert not task.failed, task.fields
    same = (tmp_path / "out" / "X" / "X.tif").read_bytes() == (expected / "X.tif").read_bytes()
    assert same
    assert list((tmp_path / "scratch").iterdir()) == []


def test_settings_of_predict(model, folder):
    work = Predict(PredictOptions(model=model, device="cpu"))
    settings = work.settings()

    def options(**changes):
        return Predict(work.options.replaced(**changes)).settings()

    others = [
        options(offset=-1000),
        options(stride=600),
        options(least_data=0.5),
        options(encoding="percent"),
        options(geojson=False),
    ]
    assert settings not in others
    for same in ({"device": "auto"}, {"overwrite": True}):
        assert options(**same) == settings
    with pytest.raises(ModelError):
        options(model=folder / "nowhere")


# Extract ----------------------------------------------------------------------------------------


def test_extract_writes_a_store_and_an_item(safe, folder):
    fields, result = process(Extract(ExtractOptions()), safe, folder / "stores")
    assert {path.name for path in result.iterdir()} == {"X.h5", "X.json"}
    api.extract_patches(safe, folder / "alone.h5", workers=1)
    one, other = PatchStore(result / "X.h5"), PatchStore(folder / "alone.h5")
    assert one.names == other.names
    assert len(one) == 4
    for key in one.keys:
        np.testing.assert_array_equal(
            one.read(range(4), [key])[key], other.read(range(4), [key])[key]
        )
    item = pystac.Item.from_file(result / "X.json")
    assert item.properties["decametre:patches"] == {"patches": 4, "left_out": {}}
    assert Path(item.assets["data"].get_absolute_href()) == result / "X.h5"
    assert (fields["device"], fields["pixels"]) == ("cpu", 57600)
    assert fields["bytes_out"] == sum(path.stat().st_size for path in result.iterdir())


def test_extract_from_sharpened_images(safe, folder):
    all_bands = Sharpen(SHARPEN.options.replaced(bands=BAND_NAMES))
    process(all_bands, safe, folder / "sharpened")
    work = Extract(ExtractOptions(native=False), str(folder / "sharpened"))
    _, result = process(work, safe, folder / "super")
    store = PatchStore(result / "X.h5")
    assert tuple(store.keys) == ("data_super",)
    assert store.model.startswith("bicubic_2x")
    assert {path.name for path in result.iterdir()} == {"X.h5", "X.json"}


def test_extract_without_the_sharpened_image(safe, folder, tmp_path):
    work = Extract(ExtractOptions(), str(tmp_path / "nothing"))
    request = TaskRequest(
        work, work.settings(), __version__, ProductEntry("X", str(safe)), str(tmp_path), None, 1
    )
    task = run_task(request)
    assert task.failed
    assert "nothing/X/X.tif" in task.fields["reason"]
    assert list(tmp_path.iterdir()) == []


def test_extract_replaces_an_existing_store(safe, folder, tmp_path):
    process(Extract(ExtractOptions()), safe, tmp_path)
    _, result = process(Extract(ExtractOptions(stride=600)), safe, tmp_path)
    assert len(PatchStore(result / "X.h5")) == 9


def write_squares(path, *corners, **columns):
    """Write a grid of patches with upper left corners at the given coordinates."""
    squares = [box(x, y - 1200, x + 1200, y) for x, y in corners]
    geopandas.GeoDataFrame(columns, geometry=squares, crs="EPSG:32633").to_file(path)


def test_product_without_any_of_the_patches_gets_an_item_only(safe, tmp_path):
    product, grid = api.open(safe), tmp_path / "grid.geojson"
    left, top = product.grid.bounds[0], product.grid.bounds[3]
    write_squares(grid, (left, top), (left, top - 1200))
    _, result = process(Extract(ExtractOptions(patches=grid)), safe, tmp_path)
    assert len(PatchStore(result / "X.h5")) == 2
    write_squares(grid, (left + 60000, top))
    fields, result = process(Extract(ExtractOptions(patches=grid)), safe, tmp_path)
    assert [path.name for path in result.iterdir()] == ["X.json"]  # the old store is removed
    (warning,) = fields["warnings"]
    assert "no patch is left to cut" in warning
    assert "1 elsewhere" in warning
    item = pystac.Item.from_file(result / "X.json")
    assert item.properties["decametre:patches"] == {"patches": 0, "left_out": {"elsewhere": 1}}
    assert item.assets == {}


def test_store_and_item_are_replaced_together(safe, tmp_path, monkeypatch):
    """A store with new settings never exists next to an item with the old ones."""
    _, result = process(Extract(ExtractOptions()), safe, tmp_path)
    before = {path.name: path.read_bytes() for path in result.iterdir()}

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", fail)
    other = Extract(ExtractOptions(stride=600))
    entry = ProductEntry("X", str(safe))
    task = run_task(
        TaskRequest(other, other.settings(), __version__, entry, str(tmp_path), None, 1)
    )
    assert (task.failed, task.fields["stage"]) == (True, "write")
    assert {path.name: path.read_bytes() for path in result.iterdir()} == before
    # Files that a killed worker left do not matter.
    monkeypatch.undo()
    (result / ".X.h5.partial" / ".X.h5.extraction").mkdir(parents=True)
    process(other, safe, tmp_path)
    assert {path.name for path in result.iterdir()} == {"X.h5", "X.json"}


def test_settings_of_extract(tmp_path):
    lists = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in lists:
        path.write_text("name\n")
    work = Extract(ExtractOptions(exclude=(lists[0],)), None)
    settings = work.settings()
    others = [
        Extract(ExtractOptions(exclude=(lists[1],))).settings(),
        Extract(ExtractOptions(exclude=(lists[0],), stride=600)).settings(),
        Extract(ExtractOptions(exclude=(lists[0],), no_cloud=True)).settings(),
        Extract(work.options, "/sharpened").settings(),
    ]
    assert settings not in others
    assert "products" not in settings
    lists[0].write_text("name\nother\n")
    assert work.settings() != settings  # the list has changed


def test_work_can_be_pickled_and_its_settings_written_as_json(model):
    for work in (
        SHARPEN,
        Predict(PredictOptions(model=model)),
        Extract(ExtractOptions()),
    ):
        assert pickle.loads(pickle.dumps(work)) == work
        assert json.loads(json.dumps(work.settings()))


@pytest.mark.parametrize(
    ("invalid", "reason"),
    [
        ({"patches": "nowhere.geojson"}, "no such file"),
        ({"native": False}, "patches hold nothing"),
        ({"labels": "nowhere.tif"}, "no such file"),
        ({"exclude": ("nowhere.txt",)}, "no list of names"),
    ],
)
def test_invalid_requests_are_errors_before_the_start(invalid, reason):
    with pytest.raises(PatchError, match=reason):
        Extract(ExtractOptions(**invalid)).check()


def test_missing_folder_of_sharpened_images_is_an_error_before_the_start(tmp_path):
    with pytest.raises(FleetError, match="nowhere: no such folder"):
        Extract(ExtractOptions(), str(tmp_path / "nowhere")).check()
    Extract(ExtractOptions(), str(tmp_path)).check()


def test_invalid_models_are_errors_before_the_start(model, folder):
    def check(model=model, **options):
        Predict(PredictOptions(model=model, **options)).check()

    check()
    with pytest.raises(ModelError, match="omit the options that sharpen"):
        check(sharpen_with=("bicubic",))
    with pytest.raises(ModelError, match="does not state which models sharpened"):
        check(tiny_model(folder / "sharpened_by_nobody", bands_in=SHARPENED))
