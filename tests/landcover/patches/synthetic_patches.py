"""Patches of random numbers."""

import zlib

import numpy as np

from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.nomenclature import BIGEARTHNET19
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS, Patch

HEADER = Header(BIGEARTHNET19, NATIVE_KEYS, attribution="nobody")


def synthetic_patch(name, keys=NATIVE_KEYS, **fields):
    """A patch whose pixels and labels follow from its name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    count = int(random.integers(1, 4))
    return Patch(
        **{
            "name": name,
            "product": "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP",
            "crs": "EPSG:32633",
            "origin": (float(random.integers(300_000, 400_000)), 5_400_000.0),
            "split": ("train", "validation", "test", "")[int(random.integers(4))],
            "labels": tuple(sorted(random.choice(BIGEARTHNET19.classes, count, replace=False))),
            "data": {
                key: random.integers(0, 65536, LAYOUTS[key].shape, dtype=np.uint16) for key in keys
            },
            "offset": random.integers(-1000, 1, 12).astype(np.int32),
            "country": "Österreich",
            **fields,
        }
    )


def assert_holds(store, patches):
    """The store holds just these patches, in this order."""
    assert store.names == [patch.name for patch in patches]
    found = store.read(range(len(store)), (*store.keys, "classes", "offset"))
    crs, product, origin = (store.column(key) for key in ("crs", "product", "origin"))
    assert set(store.column("country")) == {patch.country for patch in patches}
    for row, patch in enumerate(patches):
        for key in store.keys:
            np.testing.assert_array_equal(found[key][row], patch.data[key])
        assert sorted(store.nomenclature.labels(found["classes"][row])) == sorted(patch.labels)
        np.testing.assert_array_equal(found["offset"][row], patch.offset)
        assert (crs[row], product[row]) == (patch.crs, patch.product)
        assert tuple(origin[row]) == patch.origin
        assert store.splits[row] == patch.split
