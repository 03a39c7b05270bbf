"""A made archive at small scale: all that is said of it is checked, however fast it was."""

import json

import numpy as np
import pytest

from decametre.bench import archive, archive_writing
from decametre.bench.archive_patches import MadePatches
from decametre.patches.store import PatchStore

PATCHES, SHARDS = 900, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def report(sample_item, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "COMPARED", 100)
        return archive.run(sample_item, folder, PATCHES, SHARDS, consolidated=2, workers=0)


def test_what_was_written_is_there_once(report, folder):
    assert (report.doubled, report.lost, report.altered) == (0, 0, 0)
    assert report.compared >= 200
    store = PatchStore(folder / "merged.h5")
    assert len(store) == PATCHES
    assert len(set(store.column("product"))) == SHARDS
    assert set(store.splits) == {"train", "validation", "test"}
    assert not (folder / "plain.h5").exists()


def test_the_writer_was_killed_and_went_on(report):
    assert 0 < report.made.restart.at < PATCHES
    assert 0 < report.made.restart.resumed < report.made.seconds


def test_every_stage_is_measured(report):
    for stage in (
        report.made,
        report.writing,
        report.presented,
        report.consolidated,
        report.first,
        report.second,
    ):
        assert stage.rate > 0
        assert stage.processor_seconds > 0
        assert 0.02 < stage.peak_memory_gb < 4
    assert report.writing.seconds < report.made.seconds
    assert min(report.opened, report.columns) > 0
    assert report.archive_gb > PATCHES * 160_000 / 1e9
    assert json.loads(json.dumps(report.to_dict()))["patches"] == PATCHES
    assert "Patches doubled: 0, lost: 0; altered: 0 of" in report.table()


def test_damage_is_found(sample_item, tmp_path):
    archive_writing.write(sample_item, tmp_path, 20, 1)
    store = PatchStore(tmp_path / "shard_0.h5")
    assert archive._named(store, range(20)) == (0, 0)
    assert archive._named(store, range(2, 23)) == (2, 3)
    assert archive._compared(sample_item, store, 20, 1, [])[0] == 0
    # Of another archive, cut into shards elsewhere: patches 10 to 19 are of another product.
    assert archive._compared(sample_item, store, 20, 2, []) == (10, 20)


def test_patches_differ_and_follow_from_their_numbers(sample_item, sample):
    make = MadePatches(sample_item)
    some = [make.patch(number, 0) for number in range(40)]
    again = MadePatches(sample_item).patch(7, 0)
    for key, image in again.data.items():
        np.testing.assert_array_equal(image, some[7].data[key])
    assert len({patch.data["data_10m"].tobytes() for patch in some}) == 40
    assert len({patch.labels for patch in some}) > 2
    # They are images: neighbours are alike, unlike those of noise.
    image = some[7].data["data_10m"][3].astype(float)
    assert np.corrcoef(image[:, 1:].ravel(), image[:, :-1].ravel())[0, 1] > 0.7
    assert some[7].offset[1] == sample.bands["B02"].radiometry.offset_dn
