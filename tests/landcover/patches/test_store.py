"""Reading a store: any order, from any process."""

import multiprocessing
import pickle

import numpy as np
import pytest

from decametre.errors import PatchError
from decametre.landcover.patches.patch import NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore


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
            assert store.indices(split).tolist() == expected
        else:
            with pytest.raises(PatchError, match="it has"):
                store.indices(split)


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
