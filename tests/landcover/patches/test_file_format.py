"""The file format is as documented, and files that violate it are errors."""

import os

import h5py
import numpy as np
import pytest

from decametre.errors import PatchError
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore
from tests.landcover.patches.synthetic_patches import HEADER


def _damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


@pytest.mark.parametrize(
    ("change", "message"),
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
        (lambda file: file["classes"].resize(9, axis=0), "'classes' has shape"),
        (lambda file: [data.resize(0, axis=0) for data in file.values()], "holds no patch"),
        (
            lambda file: file["data_10m"].attrs.__setitem__("bands", ["B04", "B03", "B02", "B08"]),
            "'data_10m' holds the bands B04 B03 B02 B08, expected B02 B03 B04 B08",
        ),
        (lambda file: file["data_10m"].attrs.pop("bands"), "/data_10m has no attribute 'bands'"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(path, change, message):
    _damage(path, change)
    with pytest.raises(PatchError, match=message) as caught:
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


def test_columns_in_other_files_are_refused(path, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(10_000))
    change = {
        "a link": lambda file: file.__setitem__("offset", h5py.ExternalLink("other.h5", "/offset")),
        "storage": lambda file: file.create_dataset(
            "offset", (10, 12), "<i4", external=[(str(tmp_path / "secret"), 0, 480)]
        ),
    }
    content = path.read_bytes()
    for damage in change.values():
        path.write_bytes(content)
        _damage(path, lambda file: file.pop("offset"))
        _damage(path, damage)
        with pytest.raises(PatchError, match="'offset' lies in another file"):
            PatchStore(path)


def test_more_patches_than_the_file_can_hold_are_refused(path):
    """Sizes that a file only claims would take memory."""

    def claim(file):
        for key, data in list(file.items()):
            shape, dtype = data.shape[1:], data.dtype
            del file[key]
            file.create_dataset(key, (10**9, *shape), dtype, chunks=(1, *shape))

    _damage(path, claim)
    with pytest.raises(PatchError, match="1000000000 patches need"):
        PatchStore(path)
