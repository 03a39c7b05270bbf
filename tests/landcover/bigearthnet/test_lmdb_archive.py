"""Real patches in an LMDB archive of rico-hdl, compared with the same patches in folders."""

import numpy as np
import pytest
from safetensors.numpy import save

from decametre.errors import CorruptDataError, GridError, MissingBandError, PatchError
from decametre.landcover.bigearthnet.folders import open_folder
from decametre.landcover.bigearthnet.lmdb_archive import open_lmdb
from decametre.landcover.patches.patch import NATIVE_KEYS
from tests.landcover.bigearthnet.archives import DATA, RICO_ORDER, V2_NAMES, encoded, write_lmdb

TABLE = DATA / "v2" / "metadata.parquet"


@pytest.mark.parametrize("order", [RICO_ORDER, sorted(RICO_ORDER), RICO_ORDER[::-1]])
def test_the_same_patches_as_in_folders(tmp_path, order):
    archive = open_lmdb(encoded(tmp_path / "lmdb", order=order), [TABLE])
    folders = open_folder(DATA / "v2", [])
    assert archive.names == folders.names == V2_NAMES
    for name in V2_NAMES:
        one, other = archive.read(name), folders.read(name)
        for field in ("name", "product", "crs", "origin", "split", "labels", "country"):
            assert getattr(one, field) == getattr(other, field)
        for key in NATIVE_KEYS:
            np.testing.assert_array_equal(one.data[key], other.data[key])


def test_the_file_itself_and_a_table_beside(tmp_path):
    folder = encoded(tmp_path / "lmdb")
    (tmp_path / "metadata.parquet").write_bytes(TABLE.read_bytes())
    assert open_lmdb(folder, []).names == V2_NAMES
    assert open_lmdb(folder / "data.mdb", [TABLE]).names == V2_NAMES


def test_reading_leaves_the_archive_as_it_is(tmp_path):
    folder = encoded(tmp_path / "lmdb")
    (folder / "lock.mdb").unlink()
    before = (folder / "data.mdb").read_bytes()
    open_lmdb(folder, [TABLE]).read(V2_NAMES[0])
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]
    assert (folder / "data.mdb").read_bytes() == before


def test_what_is_no_lmdb(tmp_path):
    assert open_lmdb(tmp_path, [TABLE]) is None
    (tmp_path / "data.mdb").write_text("text")
    with pytest.raises(PatchError, match="no LMDB"):
        open_lmdb(tmp_path, [TABLE])


def test_pickles_are_refused_unread(tmp_path):
    # Would make a file, if it were unpickled.
    harm = f"cposix\nsystem\n(S'touch {tmp_path}/harm'\ntR.".encode()
    write_lmdb(tmp_path / "lmdb", {V2_NAMES[0]: b"\x80\x02" + harm})
    with pytest.raises(PatchError, match="rico-hdl"):
        open_lmdb(tmp_path / "lmdb", [TABLE])
    assert not (tmp_path / "harm").exists()


def test_a_missing_band(tmp_path):
    archive = open_lmdb(encoded(tmp_path / "lmdb", B09=None), [TABLE])
    with pytest.raises(MissingBandError, match=f"patch {V2_NAMES[0]} lacks band B09"):
        archive.read(V2_NAMES[0])


@pytest.mark.parametrize(
    "image", [np.zeros((30, 30), np.uint16), np.zeros((20, 20), np.int16), np.zeros(400, np.uint16)]
)
def test_a_band_of_another_size_or_type(tmp_path, image):
    archive = open_lmdb(encoded(tmp_path / "lmdb", B01=image), [TABLE])
    with pytest.raises(GridError, match=f"patch {V2_NAMES[0]}: band B01"):
        archive.read(V2_NAMES[0])


def test_a_damaged_value(tmp_path):
    value = save({"B01": np.zeros((20, 20), np.uint16)})
    write_lmdb(tmp_path / "lmdb", {V2_NAMES[0]: value[:-100]})
    with pytest.raises(CorruptDataError, match="is not safetensors"):
        open_lmdb(tmp_path / "lmdb", [TABLE]).read(V2_NAMES[0])
