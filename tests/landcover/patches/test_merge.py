"""Shards presented as one store, or copied into one."""

import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from decametre import api
from decametre.errors import OutputError, PatchError
from decametre.landcover.patches.nomenclature import CORINE43
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from tests.landcover.patches.synthetic_patches import HEADER, assert_holds, synthetic_patch

PATCHES = [synthetic_patch(f"patch_{number}") for number in range(9)]


def write(path, patches, header=HEADER):
    path.parent.mkdir(exist_ok=True)
    with PatchWriter(path, header, len(patches)) as writer:
        writer.append(patches)
    return path


@pytest.fixture
def shards(tmp_path):
    return [
        write(
            tmp_path / "shards" / f"{number}.h5", patches, replace(HEADER, job=f"job {number % 2}")
        )
        for number, patches in enumerate((PATCHES[:4], PATCHES[4:5], PATCHES[5:]))
    ]


@pytest.mark.parametrize("consolidate", [False, True])
def test_a_merged_store_holds_the_patches_of_all_shards(tmp_path, shards, consolidate):
    assert api.merge_patches(shards, tmp_path / "all.h5", consolidate=consolidate) == 9
    store = PatchStore(tmp_path / "all.h5")
    assert store.header == replace(HEADER, job="job 0; job 1")
    assert_holds(store, PATCHES)
    places = [8, 0, 4, 4, 5, 3]
    found = store.read(places, ["data_60m"])["data_60m"]
    for row, place in enumerate(places):
        np.testing.assert_array_equal(found[row], PATCHES[place].data["data_60m"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.h5", "shards"]


def test_a_merged_store_is_small_and_a_consolidated_one_needs_no_shard(tmp_path, shards):
    api.merge_patches(shards, tmp_path / "merged.h5")
    api.merge_patches(shards, tmp_path / "plain.h5", consolidate=True)
    assert (tmp_path / "merged.h5").stat().st_size < 100_000
    for shard in shards:
        shard.unlink()
    assert_holds(PatchStore(tmp_path / "plain.h5"), PATCHES)


def test_any_hdf5_reader_reads_one_file_even_after_a_move(tmp_path, shards):
    api.merge_patches(shards, tmp_path / "all.h5")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("all.h5", "shards"):
        (tmp_path / name).rename(moved / name)
    code = "import h5py, sys; print(int(h5py.File(sys.argv[1])['data_10m'][()].sum()))"
    found = subprocess.run(
        [sys.executable, "-c", code, str(moved / "all.h5")],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
    )
    total = sum(int(patch.data["data_10m"].sum(dtype=np.uint64)) for patch in PATCHES)
    assert int(found.stdout) == total
    assert_holds(PatchStore(moved / "all.h5"), PATCHES)


def test_a_missing_shard_is_no_zeros(tmp_path, shards):
    api.merge_patches(shards, tmp_path / "all.h5")
    shards[1].unlink()
    with pytest.raises(PatchError, match=r"its shard .*1\.h5 is missing"):
        PatchStore(tmp_path / "all.h5")


@pytest.mark.parametrize("patches", [[synthetic_patch("other")], PATCHES[4:6]])
def test_a_shard_that_was_replaced_is_refused(tmp_path, shards, patches):
    api.merge_patches(shards, tmp_path / "all.h5")
    shards[1].unlink()
    write(shards[1], patches)
    store = PatchStore(tmp_path / "all.h5")
    with pytest.raises(PatchError, match=r"1\.h5 has changed since .* merge again"):
        store.read([4], ["data_10m"])


def test_doubled_patches_are_refused(tmp_path, shards):
    shards.append(write(tmp_path / "more.h5", [synthetic_patch("new"), PATCHES[5]]))
    with pytest.raises(PatchError, match=r"patch_5 is in .*2\.h5 and in .*more\.h5"):
        api.merge_patches(shards, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_all_whose_data_it_is_are_named(tmp_path, shards):
    for year in (2016, 2018, 2016):
        header = replace(HEADER, attribution=f"contains data {year}")
        shards.append(
            write(tmp_path / f"{len(shards)}.h5", [synthetic_patch(f"new{len(shards)}")], header)
        )
    api.merge_patches(shards[3:], tmp_path / "all.h5")
    found = PatchStore(tmp_path / "all.h5").header.attribution
    assert found == "contains data 2016; contains data 2018"


@pytest.mark.parametrize(
    ("changes", "keys", "message"),
    [
        ({"model": "native_2x"}, None, "model 'native_2x', not ''"),
        ({"nomenclature": CORINE43}, None, "nomenclature 'corine43', not 'bigearthnet19'"),
        ({"keys": ("data_super",)}, ("data_super",), "keys"),
    ],
)
def test_shards_that_do_not_fit_one_another(tmp_path, shards, changes, keys, message):
    patch = synthetic_patch("new", keys or HEADER.keys, labels=("Pastures",))
    shards.append(write(tmp_path / "more.h5", [patch], replace(HEADER, **changes)))
    with pytest.raises(PatchError, match=rf"more\.h5 does not fit .*0\.h5: {message}"):
        api.merge_patches(shards, tmp_path / "all.h5")


def test_a_shard_with_another_order_of_bands_is_refused(tmp_path, shards):
    with h5py.File(shards[2], "r+") as file:
        file["data_60m"].attrs["bands"] = ["B09", "B01"]
    with pytest.raises(PatchError, match=r"2\.h5: 'data_60m' holds the bands B09 B01"):
        api.merge_patches(shards, tmp_path / "all.h5")


@pytest.mark.parametrize("consolidate", [False, True])
def test_a_merged_store_is_merged_again(tmp_path, shards, consolidate):
    """As `patches extract` with several workers writes it: its shards are followed."""
    api.merge_patches(shards[:2], tmp_path / "two.h5")
    parts = [tmp_path / "two.h5", shards[2]]
    api.merge_patches(parts, tmp_path / "all.h5", consolidate=consolidate)
    (tmp_path / "two.h5").unlink()
    assert_holds(PatchStore(tmp_path / "all.h5"), PATCHES)


def test_outputs_that_cannot_be(tmp_path, shards):
    for consolidate in (False, True):
        with pytest.raises(PatchError, match="one of the shards"):
            api.merge_patches(shards, shards[0], consolidate=consolidate, overwrite=True)
        (tmp_path / "old.h5").touch()
        with pytest.raises(OutputError, match="exists already"):
            api.merge_patches(shards, tmp_path / "old.h5", consolidate=consolidate)
    with pytest.raises(PatchError, match="no shard"):
        api.merge_patches([], tmp_path / "all.h5")
