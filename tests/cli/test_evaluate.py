import json

import pytest

from tests.cli.test_cli import assert_one_line_error, decametre


def test_terminal_tables(sample_item):
    done = decametre("evaluate", sample_item, "--scale", "6")
    assert done.returncode == 0
    assert "kernel mtf, scale 6: 360 to 60 m" in done.stdout
    heads = [line.split() for line in done.stdout.splitlines() if line.startswith("| method")]
    assert [head[1::2] for head in heads][1] == ["method", "B01", "B09", "mean"]
    rows = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows.count("bicubic") == rows.count("native_6x") == 2
    assert "scored in" in done.stderr


def test_json_is_one_document_and_out_is_complete(sample_item, tmp_path):
    out = tmp_path / "scores"
    arguments = ("--model", "bicubic", "--window", "60,0,240,180", "--out", out, "--json")
    done = decametre("evaluate", sample_item, *arguments, "--full-scale", "--protocol", "mtf")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((out / "scores.json").read_text())
    assert list(found["methods"]) == ["bicubic"]
    assert found["methods"]["bicubic"]["rmse_ratio_to_bicubic"] == 1
    assert found["protocol"]["kernel"] == "mtf"
    assert found["scenes"][0]["pixels"]["B05"] == 120 * 90
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        "figures/per_band.csv",
        "figures/per_band.png",
        f"figures/scene_{found['scenes'][0]['scene']}.png",
        "scores.csv",
        "scores.json",
        "scores.md",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
    command = (out / "scores.md").read_text().splitlines()[3]
    assert command == found["command"]
    assert command.startswith(f"decametre evaluate {sample_item} --scale 2 --protocol mtf")
    assert "--window 60,0,240,180" in command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "2", "--model", "native_6x"], "give --scale 6"),
        (["--scale", "6", "--window", "0,0,30,30"], "5 x 5 pixels of 60 m; at least 6 x 6"),
        (["--scale", "3"], "--scale"),
        (["--out", "{full}"], "not empty"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments, words, sample_item, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    given = [a.format(full=full) for a in arguments]
    done = decametre("evaluate", sample_item, *given, cwd=tmp_path)
    assert_one_line_error(done, words)
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "notes.txt"]
