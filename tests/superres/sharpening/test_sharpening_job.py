"""One product in, one complete result out, or nothing."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

import decametre
from decametre.bench.synthetic_safe import make_safe
from decametre.errors import (
    DecametreError,
    GridError,
    MissingBandError,
    OutputError,
    SharpeningError,
    UnknownNameError,
)
from decametre.sentinel2.bands import ALL_BANDS, BAND_NAMES
from decametre.sentinel2.grid import Window
from tests.support import processes

WINDOW = (120, 60, 180, 120)


@pytest.fixture(scope="module")
def result(sample, tmp_path_factory):
    output = tmp_path_factory.mktemp("result") / "sharp.tif"
    return decametre.sharpen(sample, output, window=WINDOW, quicklook=True)


def test_the_output_is_a_valid_cog(result):
    valid, errors, warnings = cog_validate(result.path, strict=True)
    assert valid, errors + warnings
    with rasterio.open(result.path) as cog:
        assert cog.profile["compress"] == "deflate"
        assert cog.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert cog.block_shapes[0] == (512, 512)


def test_bands_are_described(result):
    with rasterio.open(result.path) as cog:
        assert cog.descriptions == BAND_NAMES
        assert cog.dtypes == ("uint16",) * 12
        assert cog.nodata == 0
        assert cog.scales == (1e-4,) * 12
        assert cog.offsets == (0.0,) * 12
        natural = [cog.colorinterp[BAND_NAMES.index(name)] for name in ("B04", "B03", "B02")]
        assert natural == [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        for index, name in enumerate(BAND_NAMES, start=1):
            imagery = cog.tags(index, ns="IMAGERY")
            assert float(imagery["CENTRAL_WAVELENGTH_UM"]) == ALL_BANDS[name].wavelength
            image = cog.read(index).astype(float)
            tags = cog.tags(index)
            assert float(tags["STATISTICS_MINIMUM"]) == image.min()
            assert float(tags["STATISTICS_MAXIMUM"]) == image.max()
            assert float(tags["STATISTICS_MEAN"]) == pytest.approx(image.mean())
            assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(image.std())


def test_ten_metre_bands_and_grid_pass_through(sample, result):
    col, row, width, height = WINDOW
    with rasterio.open(result.path) as cog:
        assert cog.crs == rasterio.CRS.from_string(sample.grid.crs)
        assert tuple(cog.transform)[:6] == (10, 0, 301200, 0, -10, 6199440)
        for name in ("B02", "B03", "B04", "B08"):
            with rasterio.open(sample.bands[name].path) as source:
                expected = source.read(1)[row : row + height, col : col + width]
            np.testing.assert_array_equal(cog.read(BAND_NAMES.index(name) + 1), expected)


def test_the_item_is_valid_and_complete(sample, result):
    item = pystac.Item.from_file(str(result.item_path))
    assert item.properties["proj:code"] == "EPSG:32633"
    assert item.properties["proj:shape"] == [120, 180]
    assert item.properties["gsd"] == 10
    assert item.properties["decametre:quality"] == result.quality
    assert item.datetime.isoformat() == "2017-05-27T00:00:00+00:00"
    bands = item.assets["data"].extra_fields["bands"]
    assert [band["name"] for band in bands] == list(BAND_NAMES)
    assert bands[0]["raster:scale"] == 1e-4
    for asset in item.assets.values():
        assert (result.path.parent / asset.href).is_file()
    derived = item.get_single_link("derived_from").get_absolute_href()
    assert Path(derived).samefile(sample.source)
    west, south, east, north = item.bbox
    assert 11.8 < west < east < 11.9
    assert 55.85 < south < north < 55.91


def test_the_quality_card_describes_the_run(result):
    card = json.loads(result.quality_path.read_text())
    assert card == result.quality
    assert card["product"]["offset"]
    assert set(card["models"]) == {"native_2x", "native_6x"}
    for name, band in card["bands"].items():
        assert band["valid_percent"] == 100
        if ALL_BANDS[name].gsd == 10:
            assert band["model"] is None
        else:
            factor = ALL_BANDS[name].gsd // 10
            assert band["consistency"]["pixels"] == 180 * 120 // factor**2
            assert 0 < band["consistency"]["relative"] < 0.2


def test_the_consistency_figure_is_that_of_the_file(sample, tmp_path):
    """Recomputed from the written GeoTIFF with the kernel alone."""
    import torch

    from decametre.superres.degradation.kernels import degrade, kernel_taps

    bands, crop = ("B05", "B12", "B01"), Window(120, 60, 240, 240)
    window = (crop.col, crop.row, crop.width, crop.height)
    options = {"window": window, "bands": bands, "self_check": False}
    result = decametre.sharpen(sample, tmp_path / "some.tif", **options)
    for name in bands:
        factor = ALL_BANDS[name].gsd // 10
        with rasterio.open(result.path) as cog, rasterio.open(sample.bands[name].path) as source:
            fine = torch.from_numpy(cog.read(cog.descriptions.index(name) + 1).astype(np.float64))
            measured = source.read(1)[crop.coarsened(factor).slices].astype(float)
        seen = degrade(fine[None, None], kernel_taps("mtf", [name], factor), factor)[0, 0].numpy()
        inner = (slice(4, -4), slice(4, -4))
        rmse = np.sqrt(((seen - measured)[inner] ** 2).mean())
        assert result.quality["bands"][name]["consistency"]["rmse_dn"] == pytest.approx(
            rmse, rel=0.1
        )


def test_the_picture_shows_before_and_after(result):
    with rasterio.open(result.quicklook_path) as picture:
        assert picture.shape == (3 * (240 + 16), 2 * 360 + 6)
        panels = picture.read()
    true_colour = panels[:, 16 : 16 + 240]
    np.testing.assert_array_equal(true_colour[:, :, :360], true_colour[:, :, 366:])
    panels = panels[:, 2 * 16 + 240 : 2 * (16 + 240)]
    left, right = panels[:, :, :360], panels[:, :, 366:]
    # Two picture pixels are 10 m, four are 20 m.
    assert (left[:, ::4, ::4] == left[:, 2::4, 2::4]).all()
    assert (right[:, ::2, ::2] == right[:, 1::2, 1::2]).all()
    assert (right[:, ::4, ::4] != right[:, 2::4, 2::4]).any()


def test_a_small_picture_is_the_thumbnail_of_the_item(result):
    item = json.loads(result.item_path.read_text())
    assert item["assets"]["thumbnail"]["href"] == "./sharp.thumbnail.jpg"
    assert item["assets"]["overview"]["href"] == "./sharp.quicklook.png"
    with rasterio.open(result.path.with_name("sharp.thumbnail.jpg")) as picture:
        assert (picture.driver, picture.count, picture.shape) == ("JPEG", 3, (120, 180))
        assert picture.read().std() > 20


@pytest.mark.parametrize("bands", [["B11"], ["B08", "B02"], ["B06", "B09", "B03", "B07"]])
def test_any_bands_make_a_picture_and_keep_their_order(sample, tmp_path, bands):
    how = {"model": "bicubic", "self_check": False, "window": (0, 0, 120, 120), "quicklook": True}
    result = decametre.sharpen(sample, tmp_path / "x.tif", bands=bands, **how)
    with rasterio.open(result.path) as cog, rasterio.open(result.quicklook_path) as picture:
        assert list(cog.descriptions) == bands
        assert picture.shape == (16 + 240, 2 * 240 + 6)
    item = json.loads(result.item_path.read_text())
    assert [band["name"] for band in item["assets"]["data"]["bands"]] == bands


def test_reflectance(sample, tmp_path):
    result = decametre.sharpen(
        sample,
        tmp_path / "r.tif",
        window=WINDOW,
        encoding="reflectance",
        bands=["B04", "B8A"],
        self_check=False,
    )
    with rasterio.open(result.path) as cog:
        assert cog.dtypes == ("float32", "float32")
        assert np.isnan(cog.nodata)
        assert cog.scales == (1.0, 1.0)
        assert 0 < cog.read(1).mean() < 0.2
        assert 0.1 < cog.read(2).mean() < 0.6


def test_the_same_input_gives_the_same_bytes(sample, result, tmp_path):
    again = decametre.sharpen(sample, tmp_path / "sharp.tif", window=WINDOW, quicklook=True)
    for attribute in ("path", "quality_path", "quicklook_path"):
        assert getattr(again, attribute).read_bytes() == getattr(result, attribute).read_bytes()
    items = [json.loads(run.item_path.read_text()) for run in (again, result)]
    for item in items:
        del item["links"]  # relative to the folder
    assert items[0] == items[1]


def test_a_subset_of_bands_needs_only_its_inputs(sample, tmp_path):
    import dataclasses

    few = {name: file for name, file in sample.bands.items() if ALL_BANDS[name].gsd < 60}
    product = dataclasses.replace(sample, bands=few, missing={"B01": "nowhere", "B09": "nowhere"})
    options = {"bands": ["b11", "B5"], "self_check": False}
    result = decametre.sharpen(product, tmp_path / "b.tif", window=WINDOW, **options)
    with rasterio.open(result.path) as cog:
        assert cog.descriptions == ("B11", "B05")
    with pytest.raises(MissingBandError, match="band B01 is missing: nowhere"):
        decametre.sharpen(product, tmp_path / "c.tif", window=WINDOW, bands=["B01", "B05"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.json", "b.quality.json", "b.tif"]


def test_a_bbox_selects_the_same_ground(sample, tmp_path):
    result = decametre.sharpen(
        sample,
        tmp_path / "box.tif",
        bbox=(11.83, 55.87, 11.85, 55.88),
        bands=["B02", "B05"],
        model="bicubic",
        self_check=False,
    )
    with rasterio.open(result.path) as cog:
        west, south, east, north = rasterio.warp.transform_bounds(cog.crs, 4326, *cog.bounds)
    assert west <= 11.83 < 11.85 <= east
    assert south <= 55.87 < 55.88 <= north
    assert east - west < 0.03


BAD = [
    ({"bands": ["B05", "B10"]}, UnknownNameError, "unknown band 'B10'"),
    ({"model": ["natve"]}, UnknownNameError, "did you mean native"),
    ({"window": (500, 500, 200, 10)}, GridError, "outside the product"),
    ({"bbox": (0, 0, 1, 1)}, GridError, "outside the product"),
    ({"bbox": (2, 0, 1, 1)}, GridError, "is empty"),
    ({"bbox": (11.83, 55.87, 11.85, 55.88), "window": WINDOW}, GridError, "not several"),
    ({"bands": ["B02"], "model": ["nonsense"]}, UnknownNameError, "unknown model 'nonsense'"),
    ({"bands": []}, UnknownNameError, "unknown band ''"),
    ({"compression": "lzma"}, UnknownNameError, "unknown compression 'lzma'"),
    ({"encoding": "float"}, UnknownNameError, "unknown encoding 'float'"),
    ({"device": "cuda:99"}, DecametreError, "cuda:99"),
    ({"precision": "half"}, UnknownNameError, "unknown precision 'half'"),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD)
def test_bad_input_is_a_one_line_error_and_leaves_no_file(sample, tmp_path, options, kind, words):
    with pytest.raises(kind, match=words) as error:
        decametre.sharpen(sample, tmp_path / "x.tif", **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_output_path_is_an_error(sample, tmp_path):
    (tmp_path / "there.tif").write_text("mine")
    with pytest.raises(OutputError, match="exists already; use overwrite=True"):
        decametre.sharpen(sample, tmp_path / "there.tif", window=WINDOW)
    assert (tmp_path / "there.tif").read_text() == "mine"
    with pytest.raises(OutputError, match="does not exist"):
        decametre.sharpen(sample, tmp_path / "no" / "x.tif", window=WINDOW)
    with pytest.raises(OutputError, match="is a folder"):
        decametre.sharpen(sample, tmp_path, window=WINDOW)
    assert [p.name for p in tmp_path.iterdir()] == ["there.tif"]
    options = {"bands": ["B05"], "self_check": False, "overwrite": True}
    decametre.sharpen(sample, tmp_path / "there.tif", window=WINDOW, **options)
    with rasterio.open(tmp_path / "there.tif") as cog:
        assert cog.count == 1


def test_the_input_is_not_overwritten(sample, sample_item):
    for name in ("B05.tif", "item.tif"):  # item.tif would put its item over the input's
        with pytest.raises(OutputError, match="would overwrite the input"):
            decametre.sharpen(sample, Path(sample_item).with_name(name), overwrite=True)


def test_the_output_cannot_be_in_the_input_folder(sample, tmp_path):
    from decametre.sentinel2.raster import BandReader

    with BandReader(sample, BAND_NAMES) as reader:
        window = Window(0, 0, 120, 120)
        bands = reader.read_all(BAND_NAMES, window)
    safe = make_safe(tmp_path, bands)
    before = sorted(safe.rglob("*"))
    with pytest.raises(OutputError, match="lies inside the input"):
        decametre.sharpen(safe, safe / "GRANULE" / "sharp.tif")
    assert sorted(safe.rglob("*")) == before
    decametre.sharpen(safe, tmp_path / "sharp.tif", model="bicubic", self_check=False)
    with rasterio.open(tmp_path / "sharp.tif") as cog:
        assert cog.offsets == (-0.1,) * 12
        np.testing.assert_array_equal(cog.read(2), bands["B02"])


def test_a_full_disk_is_a_one_line_error(sample, tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1, 1, 1_000_000))
    with pytest.raises(OutputError, match=r": 1 MB free .* up to \d+ MB needed"):
        decametre.sharpen(sample, tmp_path / "x.tif", window=WINDOW)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A product of 600 x 600 pixels that cannot be compressed."""
    rng = np.random.default_rng(0)
    bands = {
        name: rng.integers(1, 65535, (6000 // band.gsd, 6000 // band.gsd), np.uint16)
        for name, band in ALL_BANDS.items()
    }
    return make_safe(tmp_path_factory.mktemp("noise"), bands)


@pytest.mark.parametrize("limit", [300_000, 8_800_000, 10_000_000])
def test_a_disk_that_fills_up_half_way(tmp_path, noise, limit):
    """A limit on the size of files stands in for the disk: every write beyond it fails.

    The COG with its overviews (11 MB) is larger than the scratch file (8.64 MB): the first limit
    stops the scratch file, the others the COG, for which libtiff reports no error.
    """
    code = (
        "import resource, signal, sys, decametre\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "    decametre.sharpen(sys.argv[1], sys.argv[2], model=['bicubic'], self_check=False)\n"
        "except decametre.errors.OutputError as error:\n"
        "    sys.exit(f'one line: {error}')\n"
    )
    words = [sys.executable, "-c", "import decametre.errors\n" + code, noise, tmp_path / "x.tif"]
    done = processes.run(words)
    assert done.returncode == 1
    assert "one line: cannot write x.tif" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_neighbours_are_not_replaced(sample, tmp_path):
    (tmp_path / "x.json").write_text("mine")
    with pytest.raises(OutputError, match=r"x.json exists already; use overwrite=True"):
        decametre.sharpen(sample, tmp_path / "x.tif", window=WINDOW)
    assert (tmp_path / "x.json").read_text() == "mine"
    with pytest.raises(OutputError, match=r"ends in .tif"):
        decametre.sharpen(sample, tmp_path / "y.json", window=WINDOW)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_an_old_picture_is_removed_with_its_result(sample, tmp_path):
    options = {"window": WINDOW, "model": "bicubic", "overwrite": True, "self_check": False}
    decametre.sharpen(sample, tmp_path / "x.tif", quicklook=True, **options)
    decametre.sharpen(sample, tmp_path / "x.tif", **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.json", "x.quality.json", "x.tif"]


PAUSED = """
import sys, time
from contextlib import closing
from pathlib import Path

from decametre.cli.main import main
from decametre.superres.sharpening import sharpened_product
from decametre.superres.sharpening.pipeline import sharpen_windows


def paused(*arguments):
    with closing(sharpen_windows(*arguments)) as windows:
        yield next(windows)
        Path("paused").touch()
        while not Path("continue").exists():
            time.sleep(0.01)
        yield from windows


sharpened_product.sharpen_windows = paused
main()
"""


def start(sample, output, *interpreted):
    command = interpreted or ("-m", "decametre")
    words = [sys.executable, *command, "sharpen", str(Path(sample.source).resolve()), str(output)]
    words += ["--tile", "300", "--model", "bicubic", "--bands", "B05,B11", "--no-self-check"]
    return processes.Process(words, cwd=output.parent)


@pytest.fixture
def paused_run(sample, tmp_path):
    """A run that waits after its first window until there is a file `continue`."""
    (tmp_path / "run").mkdir()
    process = start(sample, tmp_path / "run" / "x.tif", "-c", PAUSED)
    while not (tmp_path / "run" / "paused").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    yield process, tmp_path / "run" / "x.tif"
    process.kill()
    process.wait()


def test_a_killed_run_leaves_no_output_and_the_next_one_reports_it(sample, paused_run):
    process, output = paused_run
    process.kill()
    process.wait()
    partial = output.with_name(".x.tif.partial")
    assert not output.exists()
    assert partial.exists()
    again = start(sample, output)
    _, logged = again.communicate()
    assert again.returncode == 0
    assert "an earlier run for" in logged
    assert not partial.exists()
    assert output.exists()


def test_a_terminated_run_cleans_up(paused_run):
    process, output = paused_run
    process.terminate()
    _, logged = process.communicate()
    assert process.returncode == 130
    assert "interrupted; no result was left half-written" in logged
    assert [path.name for path in output.parent.iterdir()] == ["paused"]


def test_two_runs_do_not_write_one_output(sample, paused_run):
    first, output = paused_run
    second = start(sample, output)
    _, logged = second.communicate()
    assert second.returncode == 2
    assert "another run is writing it" in logged.splitlines()[-1]
    output.with_name("continue").touch()
    assert first.wait() == 0
    assert output.exists()


def test_a_band_without_data_gets_a_warning(tmp_path, caplog):
    bands = {"B02": np.zeros((60, 60), "uint16"), "B03": np.full((60, 60), 1500, "uint16")}
    safe = make_safe(tmp_path, bands)
    decametre.sharpen(safe, tmp_path / "sharp.tif", bands=["B02", "B03"])
    assert f"{safe.stem}: no pixel of B02 has data" in caplog.messages


def test_an_area_of_interest_sets_the_window_and_crop_the_pixels_outside(sample, tmp_path):
    left, top = sample.grid.left, sample.grid.top
    corners = [(601, 601), (1797, 601), (601, 1797)]  # metres from the corner of the grid
    ring = ", ".join(f"{left + x} {top - y}" for x, y in [*corners, corners[0]])
    how = {
        "aoi": f"SRID=32633;POLYGON (({ring}))",
        "bands": ["B02", "B05"],
        "model": "bicubic",
        "self_check": False,
    }
    part = decametre.sharpen(sample, tmp_path / "part.tif", **how)
    cropped = decametre.sharpen(sample, tmp_path / "cropped.tif", crop=True, tile=60, **how)
    assert part.quality["window"] == [60, 60, 120, 120]
    with rasterio.open(part.path) as before, rasterio.open(cropped.path) as after:
        rows, columns = np.mgrid[:120, :120]
        outside = rows + columns >= 119  # by the pixels' centres
        expected = np.where(outside, 0, before.read())
        np.testing.assert_array_equal(after.read(), expected)
        assert after.bounds.left == left + 600
    settings = json.loads(cropped.item_path.read_text())["properties"]["decametre:settings"]
    assert settings["crop"]
    assert len(settings["aoi"]) == 16
    assert settings["window"] is None
    with pytest.raises(GridError, match=r"crop needs an area of interest"):
        decametre.sharpen(sample, tmp_path / "x.tif", crop=True)
    with pytest.raises(GridError, match="not several"):
        decametre.sharpen(sample, tmp_path / "x.tif", aoi=how["aoi"], window=(0, 0, 60, 60))


def test_each_band_in_its_own_file(sample, tmp_path):
    how = {"bands": ["B05", "B02"], "model": "bicubic", "self_check": False, "quicklook": True}
    one = decametre.sharpen(sample, tmp_path / "x.tif", window=WINDOW, **how)
    with rasterio.open(one.path) as cog:
        expected, tags = cog.read(), [cog.tags(index) for index in (1, 2)]
    split = decametre.sharpen(
        sample, tmp_path / "x.tif", window=WINDOW, split_bands=True, overwrite=True, **how
    )
    assert split.path == tmp_path / "x.B05.tif"
    for index, name in enumerate(how["bands"]):
        with rasterio.open(tmp_path / f"x.{name}.tif") as cog:
            np.testing.assert_array_equal(cog.read(), expected[index : index + 1])
            assert cog.descriptions == (name,)
            assert cog.tags(1) == tags[index]
    names = {"x.B02.tif", "x.B05.tif", "x.json", "x.quality.json", "x.quicklook.png"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"x.thumbnail.jpg"}
    assert {path.name for path in split.paths} == names | {"x.thumbnail.jpg"}
    assets = json.loads(split.item_path.read_text())["assets"]
    assert [band["name"] for band in assets["B05"]["bands"]] == ["B05"]
    assert "data" not in assets


def test_several_products_into_a_folder(sample, tmp_path, caplog):
    how = {"bands": ["B02"], "window": (0, 0, 60, 60)}
    other = dataclasses.replace(sample, id="other")
    first, second = decametre.sharpen([sample, other], tmp_path, **how)
    assert (first.path.name, second.path.name) == ("dsen2_T33UUB.tif", "other.tif")
    with pytest.raises(OutputError, match="two of the products are named other"):
        decametre.sharpen([other, other], tmp_path, **how)
    with pytest.raises(OutputError, match="no such folder"):
        decametre.sharpen([sample, other], tmp_path / "none", **how)
    (tmp_path / "more").mkdir()
    lacking = dataclasses.replace(other, bands={})
    with pytest.raises(SharpeningError, match="1 of 2 products failed: other"):
        decametre.sharpen([lacking, sample], tmp_path / "more", **how)
    assert "other: other: band B02 is missing" in caplog.text
    assert (tmp_path / "more" / "dsen2_T33UUB.json").exists()
