"""Parts of `decametre patches` that scripts rely on."""

import json

from tests.cli.test_cli import decametre
from tests.landcover.bigearthnet.archives import DATA, V1_NAMES


def test_import_merge_and_info(tmp_path):
    (tmp_path / "snow.csv").write_text(V1_NAMES[0] + "\n")
    done = decametre(
        *("patches", "import", DATA / "v1", tmp_path / "v1.h5", "--classes", "19"),
        *("--exclude", tmp_path / "snow.csv", "--metadata", DATA / "v2" / "metadata.parquet"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "skipped patches: 1 (on the list" in done.stderr
    assert "v1.h5: 1 patch" in done.stderr
    assert decametre("patches", "import", DATA / "v2", tmp_path / "v2.h5").returncode == 0
    done = decametre(
        *("patches", "merge", tmp_path / "v1.h5", tmp_path / "v2.h5", tmp_path / "all.h5")
    )
    assert done.returncode == 0, done.stderr
    assert "3 patches of 2 stores" in done.stderr
    found = json.loads(decametre("patches", "info", tmp_path / "all.h5", "--json").stdout)
    assert found["patches"] == 3
    assert found["splits"] == {"train": 1, "validation": 1, "test": 1}
    assert found["classes"]["Pastures"] == {"train": 1, "validation": 1, "test": 0}
    assert found["images"]["data_60m"] == ["B01", "B09"]
    assert found["nomenclature"] == "bigearthnet19"
    assert len(found["shards"]) == 2
    assert "--exclude snow.csv" in found["job"]
    text = decametre("patches", "info", tmp_path / "all.h5").stdout
    assert "3 in 2 file(s)" in text
    assert "Agro-forestry areas" in text


def test_a_mistake_is_one_line(tmp_path):
    for arguments, message in (
        (("import", tmp_path, tmp_path / "a.h5"), "no patches found"),
        (
            ("import", DATA / "v2", tmp_path / "a.h5", "--classes", "43"),
            "they cannot be converted to 43",
        ),
        (("import", DATA / "v2", tmp_path / "a.h5", "--split", "train"), "is not SPLIT=LIST"),
        (("merge", tmp_path / "a.h5"), "no shard to merge"),
        (("info", tmp_path / "a.h5"), "no such file"),
        (("info", DATA / "README.md"), "no HDF5 file"),
    ):
        done = decametre("patches", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.startswith("decametre: error: ")
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_lists_the_subcommands():
    output = decametre("patches", "--help").stdout
    assert all(name in output for name in ("import", "merge", "info"))
