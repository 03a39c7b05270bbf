"""Import of archives into stores: classes, lists, damaged patches, resuming."""

import json
import logging
import shutil
from collections import Counter

import numpy as np
import pytest

from decametre import api
from decametre.errors import CorruptDataError, MissingBandError, OutputError, PatchError
from decametre.landcover.bigearthnet import importing
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore
from tests.landcover.bigearthnet.archives import (
    DATA,
    V1_NAMES,
    V2_NAMES,
    encoded,
    folder_of,
    many_v1,
    pixels,
)

TABLE = DATA / "v2" / "metadata.parquet"


def assert_real(store):
    """All pixels of a store are those of the published GeoTIFFs."""
    found = store.read(range(len(store)), NATIVE_KEYS)
    for row, name in enumerate(store.names):
        bands = pixels(folder_of(name))
        for key in NATIVE_KEYS:
            for place, band in enumerate(LAYOUTS[key].bands):
                np.testing.assert_array_equal(found[key][row, place], bands[band])


def test_v1_with_its_43_classes(tmp_path):
    result = api.import_patches(DATA / "v1", tmp_path / "a.h5")
    assert (result.patches, result.left_out) == (2, {})
    store = PatchStore(result.path)
    assert store.names == V1_NAMES
    assert store.nomenclature.name == "corine43"
    assert store.nomenclature.labels(store.labels[0]) == ("Pastures",)
    assert store.splits == ["", ""]
    assert store.header.job == "decametre patches import v1"
    assert "Permissive" in store.header.attribution
    assert_real(store)


def test_v1_with_19_classes(tmp_path):
    api.import_patches(DATA / "v1", tmp_path / "a.h5", classes=19)
    store = PatchStore(tmp_path / "a.h5")
    assert store.nomenclature.name == "bigearthnet19"
    assert store.nomenclature.labels(store.labels[1])[-1] == "Transitional woodland, shrub"


def test_v2_and_its_encoded_form_give_the_same_store(tmp_path):
    api.import_patches(DATA / "v2", tmp_path / "a.h5")
    api.import_patches(encoded(tmp_path / "lmdb"), tmp_path / "b.h5", metadata=[TABLE])
    stores = [PatchStore(tmp_path / name) for name in ("a.h5", "b.h5")]
    for store in stores:
        assert store.names == V2_NAMES
        assert store.nomenclature.name == "bigearthnet19"
        assert store.splits == ["validation", "train"]
        assert_real(store)
    for key in ("classes", "name", "product", "crs", "split", "country", "origin", "offset"):
        one, other = (store.column(key) for store in stores)
        np.testing.assert_array_equal(one, other)


def test_43_classes_cannot_be_had_from_19(tmp_path):
    with pytest.raises(
        PatchError, match="has labels of 19 classes; they cannot be converted to 43"
    ):
        api.import_patches(DATA / "v2", tmp_path / "a.h5", classes=43)


def test_patches_without_a_class_of_the_19_are_skipped(tmp_path, caplog):
    names = many_v1(tmp_path / "v1", 3)
    path = tmp_path / "v1" / names[1] / f"{names[1]}_labels_metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": ["Airports"]}))
    with caplog.at_level(logging.INFO, "decametre"):
        result = api.import_patches(tmp_path / "v1", tmp_path / "a.h5", classes=19)
    assert PatchStore(result.path).names == [names[0], names[2]]
    assert result.left_out == {"none of the 19 classes": 1}
    assert "skipped patches: 1 (none of the 19 classes)" in caplog.text


def test_excluded_patches_are_counted(tmp_path, caplog):
    names = many_v1(tmp_path / "v1", 4)
    for name, listed in (("snow.csv", names[:2]), ("cloud.csv", names[1:3])):
        (tmp_path / name).write_text("".join(f"{entry}\n" for entry in listed))
    lists = [tmp_path / "snow.csv", tmp_path / "cloud.csv"]
    with caplog.at_level(logging.INFO, "decametre"):
        result = api.import_patches(tmp_path / "v1", tmp_path / "a.h5", exclude=lists)
    assert PatchStore(result.path).names == [names[3]]
    assert sorted(result.left_out.values()) == [1, 2]
    assert "skipped patches: 2 (on the list" in caplog.text
    assert "snow.csv" in caplog.text


def test_the_published_table_of_snowy_patches_excludes_in_both_versions(tmp_path):
    snow = DATA / "v2" / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    # A name of v1 that the table has.
    names = many_v1(tmp_path / "v1", 1)
    name = "S2A_MSIL2A_20170613T101031_38_58"
    (tmp_path / "v1" / name).mkdir()
    result = api.import_patches(tmp_path / "v1", tmp_path / "a.h5", exclude=[snow])
    assert PatchStore(result.path).names == names
    assert sum(result.left_out.values()) == 1


def test_all_patches_skipped(tmp_path):
    (tmp_path / "all.csv").write_text("\n".join(V1_NAMES))
    with pytest.raises(PatchError, match="all 2 patches are excluded"):
        api.import_patches(DATA / "v1", tmp_path / "a.h5", exclude=[tmp_path / "all.csv"])


def test_splits_from_lists(tmp_path):
    names = many_v1(tmp_path / "v1", 5)
    splits = {"train": names[:2], "validation": names[2:3], "test": names[3:4]}
    for split, listed in splits.items():
        (tmp_path / f"{split}.csv").write_text("\n".join(listed))
    result = api.import_patches(
        tmp_path / "v1",
        tmp_path / "a.h5",
        splits={split: tmp_path / f"{split}.csv" for split in splits},
    )
    store = PatchStore(result.path)
    assert store.names == names[:4]
    assert store.splits == ["train", "train", "validation", "test"]
    assert result.left_out == {"on no list of a split": 1}


def test_lists_that_contradict_each_other(tmp_path):
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(V1_NAMES[0])
    lists = {"train": tmp_path / "one.csv", "test": tmp_path / "two.csv"}
    with pytest.raises(PatchError, match=f"{V1_NAMES[0]} is in split 'train' already"):
        api.import_patches(DATA / "v1", tmp_path / "a.h5", splits=lists)
    with pytest.raises(PatchError, match="split 'val' is not one of"):
        api.import_patches(DATA / "v1", tmp_path / "a.h5", splits={"val": tmp_path / "one.csv"})


def test_patches_missing_from_the_table_are_skipped(tmp_path):
    folder = tmp_path / "BigEarthNet-S2"
    shutil.copytree(DATA / "v2" / "BigEarthNet-S2", folder)
    (next(folder.iterdir()) / f"{V2_NAMES[0][:-5]}38_58").mkdir()
    result = api.import_patches(tmp_path, tmp_path / "a.h5", metadata=[TABLE])
    assert PatchStore(result.path).names == V2_NAMES
    assert result.left_out == {f"not in {TABLE}": 1}


def test_what_is_no_archive(tmp_path):
    for path in (tmp_path, tmp_path / "none", TABLE):
        with pytest.raises(PatchError, match=r"no such file|no patches found"):
            api.import_patches(path, tmp_path / "a.h5")


@pytest.fixture
def half_broken(tmp_path, monkeypatch):
    """Nine patches in batches of two; the sixth lacks a band, the eighth has a damaged JSON."""
    monkeypatch.setattr(importing, "BATCH", 2)
    root = tmp_path / "v1"
    names = many_v1(root, 9)
    (root / names[5] / f"{names[5]}_B05.tif").unlink()
    (root / names[7] / f"{names[7]}_labels_metadata.json").write_text("{")
    return root, names


def test_a_run_that_met_a_damaged_patch_resumes_after_its_repair(
    tmp_path, half_broken, monkeypatch
):
    root, names = half_broken
    output = tmp_path / "a.h5"
    with pytest.raises(MissingBandError, match="B05"):
        api.import_patches(root, output)
    assert not output.exists()
    source = root / names[0] / f"{names[0]}_B05.tif"
    shutil.copy(source, root / names[5] / f"{names[5]}_B05.tif")
    with pytest.raises(CorruptDataError, match="labels_metadata"):
        api.import_patches(root, output)
    shutil.copy(
        root / names[0] / f"{names[0]}_labels_metadata.json",
        root / names[7] / f"{names[7]}_labels_metadata.json",
    )
    read = Counter()
    real = importing.open_archive

    def counted(*arguments):
        archive = real(*arguments)
        inner = archive.read
        archive.read = lambda name: (read.update([name]), inner(name))[1]
        return archive

    monkeypatch.setattr(importing, "open_archive", counted)
    assert api.import_patches(root, output).patches == 9
    assert sorted(read) == names[6:]  # one again, which a kill might have cut in two
    assert PatchStore(output).names == names


def test_damaged_patches_are_skipped_on_request(tmp_path, half_broken, caplog):
    root, names = half_broken
    with caplog.at_level(logging.INFO, "decametre"):
        result = api.import_patches(root, tmp_path / "a.h5", skip_damaged=True)
    assert PatchStore(result.path).names == [*names[:5], names[6], names[8]]
    assert result.left_out == {"damaged": 2}
    assert f"{names[5]}_B05.tif: no such file" in caplog.text


def test_a_run_with_other_settings_does_not_go_on(tmp_path, half_broken):
    root, _ = half_broken
    with pytest.raises(MissingBandError):
        api.import_patches(root, tmp_path / "a.h5")
    with pytest.raises(
        OutputError, match="the partial file of an earlier run has nomenclature 'corine43'"
    ):
        api.import_patches(root, tmp_path / "a.h5", classes=19)


def test_progress(tmp_path, half_broken):
    root, _ = half_broken
    told = []
    api.import_patches(
        root, tmp_path / "a.h5", skip_damaged=True, progress=lambda *numbers: told.append(numbers)
    )
    assert told[0] == (0, 9, 0)
    assert told[-1] == (9, 9, 9)
