"""Extraction of products into one store, with any number of workers and kills."""

import fcntl
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
from shapely.geometry import box

from decametre import api
from decametre.errors import DecametreError, OutputError, PatchError
from decametre.landcover.extraction import extraction_job, worker_pool
from decametre.landcover.extraction.plan import ExtractionPlan
from decametre.landcover.patches.store import PatchStore
from decametre.sentinel2.bands import BAND_NAMES
from tests.landcover.extraction.scenes import made_product, made_tile
from tests.support import processes

NAME = "S2A_MSIL2A_20230817T105031_N0509_R051_T{tile}_20230817T170411"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two products of different size, and a sharpened tile of each: 20 and 4 patches."""
    folder = tmp_path_factory.mktemp("scenes")
    found = {}
    for seed, (tile, size) in enumerate({"31TCJ": (600, 480), "31TCK": (240, 240)}.items()):
        safe, bands = made_product(folder, *size, seed=seed, tile=tile, top=4900020 + seed * 200000)
        images = made_tile(folder / f"{tile}.tif", safe, bands, seed=10 + seed)
        found[tile] = (safe, bands, folder / f"{tile}.tif", images)
    return found


def sources(scenes):
    safes, _, tiles, _ = zip(*scenes.values(), strict=True)
    return {"products": safes, "sharpened": tiles}


def names_of(scenes):
    return {
        f"{NAME.format(tile=tile)}_{column:02d}_{row:02d}"
        for tile, (_, bands, _, _) in scenes.items()
        for row in range(bands["B02"].shape[0] // 120)
        for column in range(bands["B02"].shape[1] // 120)
    }


def check(store, scenes):
    """Every patch once, and all pixels those of its product."""
    assert sorted(store.names) == sorted(names_of(scenes))
    read = store.read(range(len(store)), store.keys)
    for index, name in enumerate(store.names):
        tile, column, row = name.split("_T")[1][:5], *map(int, name.split("_")[-2:])
        _, bands, _, images = scenes[tile]
        at = (slice(row * 120, row * 120 + 120), slice(column * 120, column * 120 + 120))
        np.testing.assert_array_equal(read["data_super"][index], images[(slice(None), *at)])
        coarse = bands["B09"][row * 20 : row * 20 + 20, column * 20 : column * 20 + 20]
        np.testing.assert_array_equal(read["data_60m"][index, 1], coarse)
        assert store.column("product")[index] == name.rsplit("_", 2)[0]


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def extraction(request, scenes, tmp_path_factory):
    """A complete store, and the result of its extraction."""
    output = tmp_path_factory.mktemp("extraction") / "all.h5"
    return api.extract_patches(output=output, workers=request.param, **sources(scenes))


def test_whole_grids_with_tiles(scenes, extraction, tmp_path):
    assert (extraction.patches, extraction.left_out) == (24, {})
    assert extraction.shards in (1, 2)
    store = PatchStore(extraction.path)
    check(store, scenes)
    assert store.model == f"made sha256:{'0' * 64}"
    assert "Copernicus Sentinel data 2023" in store.header.attribution
    files = {"all.h5"} if extraction.shards == 1 else {"all.h5", "all.shards"}
    assert {path.name for path in extraction.path.parent.iterdir()} == files
    # It may be moved with its shards.
    shutil.copytree(extraction.path.parent, tmp_path / "moved")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path)
        check(PatchStore(Path("moved", "all.h5")), scenes)


def test_classes_and_offsets_are_those_of_each_patch(extraction):
    store = PatchStore(extraction.path)
    columns = store.read(range(len(store)), ("classes", "offset"))
    assert not columns["classes"].any()
    assert (columns["offset"] == columns["offset"][0]).all()


def test_real_pixels_sharpened_on_the_way(sample_item, tmp_path):
    grid = geopandas.GeoDataFrame(
        {"name": ["a", "b"], "labels": ["Pastures", "Airports;Pastures"], "split": "train"},
        geometry=[box(301200, 6197640, 302400, 6198840), box(303600, 6194040, 304800, 6195240)],
        crs="EPSG:32633",
    )
    grid.to_file(tmp_path / "grid.geojson")
    output = tmp_path / "real.h5"
    result = api.extract_patches(
        sample_item,
        output,
        patches=tmp_path / "grid.geojson",
        sharpen=True,
        model="bicubic",
        workers=1,
    )
    store = PatchStore(output)
    assert result.patches == len(store) == 2
    assert store.names == ["dsen2_T33UUB_a", "dsen2_T33UUB_b"]
    assert store.class_names[0] == "Continuous urban fabric"
    assert store.labels.sum(1).tolist() == [1, 2]
    assert store.model.startswith("bicubic_2x sha256:")
    assert store.column("origin").tolist() == [[301200, 6198840], [303600, 6195240]]
    data = store.read([0], store.keys)
    places = [BAND_NAMES.index(name) for name in ("B02", "B03", "B04", "B08")]
    np.testing.assert_array_equal(data["data_super"][:, places], data["data_10m"])
    assert {path.name for path in tmp_path.iterdir()} == {"grid.geojson", "real.h5"}


def test_native_bands_are_those_of_the_files(sample, sample_item, tmp_path):
    import rasterio

    api.extract_patches(sample_item, tmp_path / "native.h5", workers=1)
    store = PatchStore(tmp_path / "native.h5")
    assert store.keys == ("data_10m", "data_20m", "data_60m")
    assert len(store) == 25
    read = store.read([7], store.keys)
    for key, names in ((key, store.bands(key)) for key in store.keys):
        edge = read[key].shape[-1]
        for index, name in enumerate(names):
            with rasterio.open(sample.bands[name].path) as file:
                image = file.read(1)[edge : 2 * edge, 2 * edge : 3 * edge]
            np.testing.assert_array_equal(read[key][0, index], image)


def test_skipped_patches_are_counted(scenes, tmp_path):
    safe = scenes["31TCK"][0]
    stem = NAME.format(tile="31TCK").replace("_20230817T170411", "")
    names = [f"{stem}_{column:02d}_{row:02d}" for column, row in ((0, 0), (1, 1), (2, 0), (9, 9))]
    (tmp_path / "list.txt").write_text("\n".join([*names, names[0].replace("31TCK", "33UUP")]))
    (tmp_path / "snow.csv").write_text(f"{names[1]}\n")
    # The product's corner is made up, and not that of its tile.
    options = {
        "products": safe,
        "patches": tmp_path / "list.txt",
        "exclude": [tmp_path / "snow.csv"],
        "workers": 1,
    }
    output = tmp_path / "some.h5"
    with pytest.raises(PatchError, match=r"3 patches cannot be cut; the first, S2A_.*off the pix"):
        api.extract_patches(output=output, **options)
    assert not output.exists()
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(PatchError, match=r"no patch is left .*1 elsewhere, 1 listed, 3 misfit"):
        api.extract_patches(output=output, skip_misfits=True, **options)


def test_bigearthnets_names_and_lists(tmp_path):
    safe, _ = made_product(tmp_path, tile="33UUP", crs="EPSG:32633", left=300000, top=5400000)
    stem = "S2A_MSIL2A_20230817T105031_N9999_R051_T33UUP"
    names = [f"{stem}_{number}" for number in ("00_00", "01_01", "02_00", "09_09")]
    (tmp_path / "list.txt").write_text("\n".join([*names, f"{stem[:-5]}34VER_00_00"]))
    (tmp_path / "snow.csv").write_text(f"{names[1]}\n")
    result = api.extract_patches(
        safe,
        tmp_path / "some.h5",
        patches=tmp_path / "list.txt",
        exclude=[tmp_path / "snow.csv"],
        skip_misfits=True,
        workers=1,
    )
    assert result.left_out == {"elsewhere": 1, "listed": 1, "misfit": 1}
    assert sorted(PatchStore(tmp_path / "some.h5").names) == [names[0], names[2]]


def test_labels_of_43_classes_become_19(sample_item, tmp_path):
    import rasterio

    codes = np.full((60, 60), 124, np.int16)  # airports: none of the 19
    codes[:, 30:] = 231
    with rasterio.open(
        tmp_path / "clc.tif",
        "w",
        driver="GTiff",
        width=60,
        height=60,
        count=1,
        dtype="int16",
        crs="EPSG:32633",
        transform=rasterio.Affine(100, 0, 300000, 0, -100, 6200040),
    ) as raster:
        raster.write(codes, 1)
    output = tmp_path / "43.h5"
    api.extract_patches(sample_item, output, labels=tmp_path / "clc.tif", workers=1)
    store = PatchStore(output)
    assert store.nomenclature.name == "corine43"
    found = [store.nomenclature.labels(row) for row in store.labels]
    assert (found[0], found[2]) == (("Airports",), ("Airports", "Pastures"))

    output = tmp_path / "19.h5"
    result = api.extract_patches(
        sample_item, output, labels=tmp_path / "clc.tif", classes=19, workers=1
    )
    assert result.left_out == {"none of the 19 classes": 10}
    store = PatchStore(output)
    assert store.nomenclature.name == "bigearthnet19"
    assert {store.nomenclature.labels(row) for row in store.labels} == {("Pastures",)}
    assert len(store) == 15


def test_a_misfit_on_an_exclusion_list_is_no_mistake(sample_item, tmp_path):
    grid = geopandas.GeoDataFrame(
        {"name": ["a", "b"]},
        geometry=[box(301200, 6197640, 302400, 6198840), box(303630, 6194040, 304830, 6195240)],
        crs="EPSG:32633",
    )
    grid.to_parquet(tmp_path / "grid.parquet")
    (tmp_path / "b.txt").write_text("b\n")
    options = {"patches": tmp_path / "grid.parquet", "workers": 1}
    with pytest.raises(PatchError, match=r"1 patch cannot be cut; the first, b, begins at"):
        api.extract_patches(sample_item, tmp_path / "a.h5", **options)
    api.extract_patches(sample_item, tmp_path / "a.h5", exclude=[tmp_path / "b.txt"], **options)
    assert PatchStore(tmp_path / "a.h5").names == ["dsen2_T33UUB_a"]


# Kills -------------------------------------------------------------------------------------------


def kill_after(folder, shard, patches):
    """Write a shard, and be killed once so many of its patches are written."""

    def report(at, handled):
        if handled >= patches:
            os.kill(os.getpid(), signal.SIGKILL)

    worker_pool._BATCH = 1
    worker_pool.write_shard(ExtractionPlan.load(Path(folder)), shard, report)


@pytest.fixture
def one_process(monkeypatch):
    """Write all shards in this process: worker processes are tested elsewhere."""
    monkeypatch.setattr(
        extraction_job,
        "write_shards",
        lambda plan, _, progress: worker_pool.write_shards(plan, 1, progress),
    )


@pytest.fixture
def unfinished(scenes, monkeypatch):
    """Plans extractions, and interrupts them before a patch is cut."""

    def make(output):
        with monkeypatch.context() as patched:
            patched.setattr(extraction_job, "write_shards", interrupt)
            with pytest.raises(KeyboardInterrupt):
                api.extract_patches(output=output, workers=2, **sources(scenes))
        return output.parent / f".{output.name}.extraction"

    def interrupt(*_):
        raise KeyboardInterrupt

    return make


def test_killed_workers_are_resumed(scenes, unfinished, one_process, tmp_path):
    output = tmp_path / "all.h5"
    folder = unfinished(output)
    context = multiprocessing.get_context("fork")
    for shard, patches in ((0, 4), (1, 1), (0, 9), (1, 7), (0, 10)):
        process = context.Process(target=kill_after, args=(str(folder), shard, patches))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert (folder / "all.shards" / ".0000.h5.partial").exists()
    seen = []
    api.extract_patches(
        output=output,
        workers=2,
        progress=lambda done, total, count: seen.append((done, total, count)),
        **sources(scenes),
    )
    check(PatchStore(output), scenes)
    assert seen[-1][:2] == (24, 24)
    assert seen[-1][2] < 24 - 13  # patches of the earlier runs are not cut again
    assert not folder.exists()


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_with_one_line(scenes, tmp_path, monkeypatch, caplog):
    output = tmp_path / "all.h5"
    started = []

    def start(*args, **options):
        started.append(popen(*args, **options))
        started[0].kill()
        return started[-1]

    popen = subprocess.Popen
    with monkeypatch.context() as patched:
        patched.setattr(worker_pool.subprocess, "Popen", start)
        with pytest.raises(PatchError, match=r"0 was killed by signal 9.*repeat the command"):
            api.extract_patches(output=output, workers=2, **sources(scenes))
    assert [process.poll() for process in started] == [-signal.SIGKILL] * 2
    assert not output.exists()
    with caplog.at_level(logging.INFO):
        api.extract_patches(output=output, workers=2, **sources(scenes))
    assert "resuming an earlier run" in caplog.text
    check(PatchStore(output), scenes)


KILLED = """
import json, os, signal, sys
from decametre import api
os.setsid()
output, when, whole_group, sources = json.loads(sys.argv[1])
def progress(handled, total, count):
    if handled >= when:
        os.killpg(0, signal.SIGKILL) if whole_group else os.kill(os.getpid(), signal.SIGKILL)
api.extract_patches(output=output, workers=2, progress=progress, **sources)
"""


def run_killed(scenes, output, when, *, whole_group):
    """Extract in another process, which is killed once so many patches are handled."""
    files = {key: [str(path) for path in paths] for key, paths in sources(scenes).items()}
    arguments = json.dumps([str(output), when, whole_group, files])
    run = processes.run([sys.executable, "-c", KILLED, arguments])
    assert run.returncode == -signal.SIGKILL
    assert not output.exists()


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 24])
def test_a_kill_of_all_processes_loses_and_doubles_nothing(scenes, one_process, tmp_path, when):
    output = tmp_path / "all.h5"
    run_killed(scenes, output, when, whole_group=True)
    api.extract_patches(output=output, workers=2, **sources(scenes))
    check(PatchStore(output), scenes)
    assert {path.name for path in tmp_path.iterdir()} == {"all.h5", "all.shards"}


@pytest.mark.slow
def test_a_kill_of_the_parent_alone_loses_and_doubles_nothing(scenes, one_process, tmp_path):
    output = tmp_path / "all.h5"
    run_killed(scenes, output, 0, whole_group=False)  # its workers live on
    api.extract_patches(output=output, workers=2, **sources(scenes))
    check(PatchStore(output), scenes)


def test_workers_of_a_killed_parent_are_waited_for(tmp_path, monkeypatch):
    held = (tmp_path / worker_pool.WORKERS_LOCK).open("a+")
    fcntl.flock(held, fcntl.LOCK_SH)
    messages = []

    def end_worker(message):
        messages.append(message)
        held.close()

    monkeypatch.setattr(worker_pool.log, "info", end_worker)
    worker_pool.wait_for_orphans(tmp_path)
    assert messages == ["waiting for the workers of an earlier run to end"]
    worker_pool.wait_for_orphans(tmp_path)  # none is left
    assert len(messages) == 1


def test_killed_while_moving_into_place(scenes, unfinished, one_process, tmp_path):
    output = tmp_path / "all.h5"
    api.extract_patches(output=output, workers=2, **sources(scenes))
    # As it is between the two moves.
    folder = unfinished(tmp_path / "other.h5")
    folder = folder.rename(tmp_path / ".all.h5.extraction")
    shutil.rmtree(folder / "other.shards")
    facts = json.loads((folder / "job.json").read_text()) | {"shards": "all.shards"}
    (folder / "job.json").write_text(json.dumps(facts))
    output.rename(folder / "all.h5")
    result = api.extract_patches(output=output, workers=2, **sources(scenes))
    assert (result.patches, result.shards) == (24, 2)
    check(PatchStore(output), scenes)


# Mistakes ----------------------------------------------------------------------------------------


def test_another_request_does_not_resume(scenes, unfinished, tmp_path):
    output = tmp_path / "all.h5"
    unfinished(output)
    options = sources(scenes) | {"native": False}
    with pytest.raises(OutputError, match=r"an unfinished run in .* had other native"):
        api.extract_patches(output=output, **options)
    api.extract_patches(output=output, overwrite=True, workers=1, **options)
    assert PatchStore(output).keys == ("data_super",)


def test_an_existing_store_is_kept(scenes, one_process, tmp_path):
    output = tmp_path / "all.h5"
    safe = scenes["31TCK"][0]
    api.extract_patches(safe, output, workers=2)
    with pytest.raises(OutputError, match="exists already; use overwrite=True"):
        api.extract_patches(safe, output)
    assert len(PatchStore(output)) == 4
    # A store of one file replaces one of two, whose shards go.
    api.extract_patches(safe, output, workers=1, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"all.h5"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "store.tif"}, "give the name of a file that ends in .h5"),
        ({"output": "none/store.h5"}, "does not exist; make it first"),
        ({"products": 2}, "is given twice"),
        ({"native": False}, "patches hold nothing"),
        ({"sharpened": "other"}, "which is not one of the products given"),
        ({"patches": "none.txt"}, "no such file"),
        ({"no_cloud": True}, "has no scene classification|cannot be read"),
        ({"classes": 43}, "which cannot be converted to 43"),
    ],
)
def test_mistakes_leave_nothing(scenes, tmp_path, change, message):
    safe = scenes["31TCK"][0]
    options = {"products": [safe], "output": tmp_path / "store.h5", "workers": 1}
    if "output" in change:
        options["output"] = tmp_path / change["output"]
    elif "products" in change:
        options["products"] = [safe, safe]
    elif "sharpened" in change:
        options |= {"products": [safe], "sharpened": [scenes["31TCJ"][2]]}
    elif "patches" in change:
        options["patches"] = tmp_path / change["patches"]
    else:
        options |= change
    with pytest.raises(DecametreError, match=message) as caught:
        api.extract_patches(**options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_tiles_sharpened_by_several_models(scenes, tmp_path):
    tiles = []
    for tile, (safe, bands, _, _) in scenes.items():
        tiles.append(tmp_path / f"{tile}.tif")
        made_tile(tiles[-1], safe, bands, model=f"model_{tile}")
    with pytest.raises(PatchError, match="sharpen all by the same models"):
        api.extract_patches(
            sources(scenes)["products"], tmp_path / "all.h5", sharpened=tiles, workers=1
        )
    with pytest.raises(PatchError, match="no sharpened tile is given; sharpen it"):
        api.extract_patches(
            sources(scenes)["products"], tmp_path / "all.h5", sharpened=tiles[:1], workers=1
        )
