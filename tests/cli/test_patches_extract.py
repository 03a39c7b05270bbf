"""Command lines and output of `decametre patches extract` and `plan`."""

import json

from decametre.api.planning import plan_patches
from decametre.landcover.patches.store import PatchStore
from tests.cli.test_cli import decametre
from tests.landcover.bigearthnet.archives import DATA


def test_extract(sample_item, tmp_path):
    done = decametre("patches", "extract", sample_item, tmp_path / "out.h5", "--workers", "1")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "out.h5: 25 patches" in done.stderr
    assert len(PatchStore(tmp_path / "out.h5")) == 25


def test_a_mistake_is_one_line(sample_item, tmp_path):
    done = decametre("patches", "extract", sample_item, tmp_path / "out.h5", "--no-cloud")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("decametre: error: dsen2_T33UUB: has no scene classification")
    assert list(tmp_path.iterdir()) == []


def test_plan():
    done = decametre("patches", "plan", DATA / "v2" / "metadata.parquet", "--workers", "2")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "4 patches, 2 workers"
    assert {line[:16].strip() for line in lines[2:5]} == {
        "longest first",
        "back and forth",
        "equal runs",
    }
    assert done.stdout.count("T33UUP") == 1


def test_plan_as_json_holds_every_patch():
    path = DATA / "v2" / "metadata.parquet"
    done = decametre("patches", "plan", path, "--workers", "3", "--json")
    for plan in json.loads(done.stdout):
        pieces = [piece for share in plan["shares"] for piece in share["pieces"]]
        assert sum(stop - start for _, start, stop in pieces) == 4
    best = plan_patches(path, workers=3)[0]
    assert json.loads(done.stdout)[0]["method"] == best.method
