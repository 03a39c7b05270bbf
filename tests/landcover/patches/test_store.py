"""Stores: what is written is read, a killed run goes on, and broken files are refused."""

import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from decametre.errors import OutputError, PatchError
from decametre.landcover.patches.nomenclature import CORINE43, Nomenclature
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore, PatchWriter
from tests.landcover.patches.synthetic_patches import HEADER, assert_holds, made


@pytest.fixture
def patches():
    return [made(f"patch_{number}") for number in range(10)]


@pytest.fixture
def path(tmp_path, patches):
    path = tmp_path / "some.h5"
    with PatchWriter(path, HEADER, len(patches)) as writer:
        writer.append(patches[:7])
        writer.append(patches[7:])
    return path


def test_what_is_written_is_read(path, patches):
    store = PatchStore(path)
    assert len(store) == 10
    assert store.keys == NATIVE_KEYS
    assert store.header == HEADER
    assert_holds(store, patches)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keys", [("data_super",), tuple(LAYOUTS)])
def test_sharpened_patches(tmp_path, keys):
    patches = [made(name, keys) for name in "abc"]
    header = replace(HEADER, keys=keys[::-1], model="native_2x sha256:1f")
    with PatchWriter(tmp_path / "a.h5", header, 3) as writer:
        writer.append(patches)
    store = PatchStore(tmp_path / "a.h5")
    assert store.keys == keys
    assert store.model == "native_2x sha256:1f"
    assert_holds(store, patches)


def test_the_file_is_as_documented(path):
    with h5py.File(path) as file:
        assert set(file) == {
            *NATIVE_KEYS,
            *("classes", "name", "product", "crs", "split", "country", "origin", "offset"),
        }
        assert file["data_20m"].chunks == (1, 6, 60, 60)
        assert list(file["data_20m"].attrs["bands"]) == ["B05", "B06", "B07", "B8A", "B11", "B12"]
        assert file["classes"].shape == (10, 19)
        assert file["classes"].dtype == np.uint8
        assert file["offset"].dtype == np.int32
        assert file.attrs["format"] == "decametre-patches"
        assert file.attrs["nomenclature"] == "bigearthnet19"
        assert len(file.attrs["class_names"]) == 19


def test_patches_come_back_as_they_were(path, patches):
    for found, given in zip(
        PatchStore(path).patches([8, 2]), (patches[8], patches[2]), strict=True
    ):
        for field in ("name", "product", "crs", "origin", "split", "country"):
            assert getattr(found, field) == getattr(given, field)
        assert set(found.labels) == set(given.labels)
        np.testing.assert_array_equal(found.offset, given.offset)
        for key in NATIVE_KEYS:
            np.testing.assert_array_equal(found.data[key], given.data[key])


def test_reading_any_order_with_repeats(path, patches):
    places = [9, 0, 3, 3, 9]
    found = PatchStore(path).read(places, ["data_60m", "classes"])
    assert set(found) == {"data_60m", "classes"}
    for row, place in enumerate(places):
        np.testing.assert_array_equal(found["data_60m"][row], patches[place].data["data_60m"])


def test_reading_nothing(path):
    assert PatchStore(path).read([], ["data_10m"])["data_10m"].shape == (0, 4, 120, 120)


def test_reading_what_is_not_there(path):
    store = PatchStore(path)
    with pytest.raises(PatchError, match="patches 0 to 9"):
        store.read([10], ["data_10m"])
    with pytest.raises(PatchError, match="patches 0 to 9"):
        store.read([-1], ["data_10m"])
    with pytest.raises(PatchError, match="no 'data_super'; it has data_10m"):
        store.read([0], ["data_super"])


def test_splits(path, patches):
    store = PatchStore(path)
    for split in ("train", "validation", "test"):
        expected = [row for row, patch in enumerate(patches) if patch.split == split]
        if expected:
            assert store.places(split).tolist() == expected
        else:
            with pytest.raises(PatchError, match="it has"):
                store.places(split)


def _sum(store, place):
    return int(store.read([place], ["data_10m"])["data_10m"].sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reading_from_workers(path, patches, method):
    """The parent has the file open when its workers start."""
    store = PatchStore(path)
    expected = [int(patch.data["data_10m"].sum(dtype=np.int64)) for patch in patches]
    assert _sum(store, 0) == expected[0]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(_sum, [(store, place) for place in range(10)]) == expected


def test_a_pickled_store_holds_no_data(path):
    store = PatchStore(path)
    store.read([0], ["data_10m", "classes"])
    assert len(pickle.dumps(store)) < 4096


def test_fewer_patches_than_announced(tmp_path, patches):
    with PatchWriter(tmp_path / "a.h5", HEADER, 1000) as writer:
        writer.append(patches)
    assert_holds(PatchStore(tmp_path / "a.h5"), patches)
    with h5py.File(tmp_path / "a.h5") as file:
        assert {len(dataset) for dataset in file.values()} == {10}


def test_more_patches_than_announced(tmp_path, patches):
    with pytest.raises(OutputError, match="more than the 9"):
        _write(tmp_path / "a.h5", patches, 9)


def _write(path, patches, count):
    with PatchWriter(path, HEADER, count) as writer:
        for patch in patches:
            writer.append([patch])


def _fail_after(path, patches):
    with PatchWriter(path, HEADER, 10) as writer:
        writer.append(patches)
        raise ZeroDivisionError


def test_a_failed_run_goes_on(tmp_path, patches):
    path = tmp_path / "a.h5"
    with pytest.raises(ZeroDivisionError):
        _fail_after(path, patches[:4])
    assert not path.exists()
    with PatchWriter(path, HEADER, 10) as writer:
        assert writer.names == {patch.name for patch in patches[:3]}  # the last is written again
        writer.append([patch for patch in patches if patch.name not in writer.names])
    assert_holds(PatchStore(path), patches)
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_failed_before_its_first_patch_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        _fail_after(tmp_path / "a.h5", [])
    assert not list(tmp_path.iterdir())


KILLED = """
import sys
from decametre.landcover.patches.store import PatchWriter
from tests.landcover.patches.synthetic_patches import HEADER, made
from pathlib import Path
with PatchWriter(Path(sys.argv[1]), HEADER, 3000) as writer:
    print("ready", flush=True)
    batch = []
    for number in range(3000):
        if (name := f"patch_{number}") not in writer.names:
            batch.append(made(name))
        if len(batch) == 3:
            writer.append(batch)
            batch = []
    writer.append(batch)
"""


def test_killed_at_any_moment_no_patch_is_lost_or_doubled(tmp_path):
    path = tmp_path / "a.h5"
    root = Path(__file__).parents[3]
    random = np.random.default_rng(0)
    held = []
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=root
        ) as run:
            run.stdout.read(5)
            time.sleep(random.uniform(0.02, 0.3))
            run.send_signal(signal.SIGKILL)
        with h5py.File(path.parent / ".a.h5.partial") as file:
            held.append(int((file["name"].asstr()[:] != "").sum()))
    # Only the last patch is written again.
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(held))
    assert 0 < held[0] < held[-1] < 3000
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=True, cwd=root)
    assert_holds(PatchStore(path), [made(f"patch_{number}") for number in range(3000)])


@pytest.fixture
def partial(tmp_path, patches):
    path = tmp_path / "a.h5"
    with pytest.raises(ZeroDivisionError):
        _fail_after(path, patches[:4])
    return path


@pytest.mark.parametrize(
    ("changes", "count", "said"),
    [
        ({"job": "other"}, 10, "job '', not 'other'"),
        ({"model": "native_2x"}, 10, "model '', not 'native_2x'"),
        ({"nomenclature": CORINE43}, 10, "nomenclature 'bigearthnet19', not 'corine43'"),
        ({}, 11, "10 patches, not 11"),
    ],
)
def test_the_part_of_another_job_is_refused(partial, changes, count, said):
    with (
        pytest.raises(OutputError, match=f"{said}; delete"),
        PatchWriter(partial, replace(HEADER, **changes), count),
    ):
        pass
    assert (partial.parent / ".a.h5.partial").exists()


def test_a_damaged_part_is_refused(partial):
    with (partial.parent / ".a.h5.partial").open("r+b") as file:
        file.write(b"nonsense")
    with pytest.raises(OutputError, match="damaged, delete it"), PatchWriter(partial, HEADER, 10):
        pass


def test_two_writers_of_one_store(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from decametre.landcover.patches.store import PatchWriter\n"
        "from tests.landcover.patches.synthetic_patches import HEADER\n"
        "from decametre.errors import OutputError\n"
        "try:\n  PatchWriter(Path(sys.argv[1]), HEADER, 10).__enter__()\n"
        "except OutputError as error: print(error)"
    )
    with PatchWriter(tmp_path / "a.h5", HEADER, 10) as writer:
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "a.h5")],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
        )
        writer.append([made("a")])
    assert "another run is writing it" in second.stdout
    assert PatchStore(tmp_path / "a.h5").names == ["a"]


def test_doubled_patches_are_refused(tmp_path, patches):
    with pytest.raises(PatchError, match="patch_0 comes twice"):
        _write(tmp_path / "a.h5", [patches[0], patches[0]], 10)
    with (
        pytest.raises(PatchError, match="patch_1 comes twice"),
        PatchWriter(tmp_path / "b.h5", HEADER, 10) as writer,
    ):
        writer.append([patches[1], patches[1]])


def test_patches_that_do_not_fit_the_header(tmp_path):
    for patch, said in (
        (made("a", tuple(LAYOUTS)), "data_super, expected"),
        (made("a", labels=("Peatbogs",)), "patch a: unknown class"),
        (made("a" * 129), "name has 129 bytes"),
        (made(""), "name has 0 bytes"),
    ):
        with (
            pytest.raises(PatchError, match=said),
            PatchWriter(tmp_path / "a.h5", HEADER, 10) as writer,
        ):
            writer.append([patch])
        assert not list(tmp_path.iterdir())


def test_nothing_to_write(tmp_path):
    with (
        pytest.raises(PatchError, match="no patch to write"),
        PatchWriter(tmp_path / "a.h5", HEADER, 10),
    ):
        pass
    with pytest.raises(PatchError, match="no patch to write"):
        PatchWriter(tmp_path / "a.h5", HEADER, 0)
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be(path, tmp_path):
    with pytest.raises(OutputError, match="exists already"):
        PatchWriter(path, HEADER, 1)
    with pytest.raises(OutputError, match="is a folder"):
        PatchWriter(tmp_path, HEADER, 1)
    with pytest.raises(OutputError, match="does not exist"):
        PatchWriter(tmp_path / "none" / "a.h5", HEADER, 1)
    with (
        pytest.raises(OutputError, match="MB needed"),
        PatchWriter(tmp_path / "a.h5", HEADER, 10**9),
    ):
        pass


def test_overwriting_leaves_the_old_file_until_the_new_one_is_whole(path, patches):
    with PatchWriter(path, HEADER, 1, overwrite=True) as writer:
        writer.append([made("new")])
        assert_holds(PatchStore(path), patches)
    assert PatchStore(path).names == ["new"]


def _damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.attrs.pop("format"), "no store of patches"),
        (lambda file: file.attrs.__setitem__("version", 2), "version 2"),
        (lambda file: file.attrs.pop("class_names"), "no attribute 'class_names'"),
        (lambda file: file.attrs.pop("model"), "no attribute 'model'"),
        (
            lambda file: file.attrs.__setitem__(
                "class_names", list(HEADER.nomenclature.classes)[::-1]
            ),
            "class 0 is 'Marine waters'",
        ),
        (lambda file: file.pop("data_20m"), "images data_10m, data_60m"),
        (lambda file: file.pop("offset"), "no data set 'offset'"),
        (lambda file: file.pop("name"), "no data set 'name'"),
        (lambda file: file["classes"].resize(9, axis=0), "'classes' is of shape"),
        (lambda file: [data.resize(0, axis=0) for data in file.values()], "holds no patch"),
        (
            lambda file: file["data_10m"].attrs.__setitem__("bands", ["B04", "B03", "B02", "B08"]),
            "'data_10m' holds the bands B04 B03 B02 B08, expected B02 B03 B04 B08",
        ),
        (lambda file: file["data_10m"].attrs.pop("bands"), "/data_10m has no attribute 'bands'"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(path, change, said):
    _damage(path, change)
    with pytest.raises(PatchError, match=said) as caught:
        PatchStore(path)
    assert str(path) in str(caught.value)


def test_a_compressed_file_is_refused(path):
    with h5py.File(path, "r+") as file:
        pixels = file["data_10m"][:]
        del file["data_10m"]
        new = file.create_dataset("data_10m", data=pixels, compression="gzip", chunks=True)
        new.attrs["bands"] = list(LAYOUTS["data_10m"].bands)
    with pytest.raises(PatchError, match="is compressed"):
        PatchStore(path)


def test_no_file_and_no_hdf5(tmp_path):
    with pytest.raises(PatchError, match="no such file"):
        PatchStore(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_text("text")
    with pytest.raises(PatchError, match="no HDF5 file"):
        PatchStore(tmp_path / "a.h5")


def test_a_truncated_file(path):
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(PatchError, match="truncated"):
        PatchStore(path).read(range(10), NATIVE_KEYS)


def test_an_own_nomenclature(tmp_path):
    header = replace(HEADER, nomenclature=Nomenclature("rules", ("water", "snow")))
    with PatchWriter(tmp_path / "a.h5", header, 1) as writer:
        writer.append([made("a", labels=("snow",))])
    store = PatchStore(tmp_path / "a.h5")
    assert store.nomenclature == header.nomenclature
    assert store.labels.tolist() == [[0, 1]]
