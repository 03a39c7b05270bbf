import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from decametre import __version__
from decametre.cli import main
from tests.support import processes


def decametre(*arguments, **options):
    return processes.run([sys.executable, "-m", "decametre", *arguments], **options)


def decametre_in_new_interpreter(*arguments):
    """As users run it: in a new interpreter instead of a forked process."""
    return subprocess.run(
        [sys.executable, "-m", "decametre", *map(str, arguments)], capture_output=True, text=True
    )


def assert_one_line_error(done, words):
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_version_and_help():
    assert decametre_in_new_interpreter("--version").stdout == f"decametre, version {__version__}\n"
    text = decametre_in_new_interpreter("--help").stdout
    assert all(verb in text for verb in ("info", "sharpen", "models", "env", "bench"))


def test_info_as_text_and_json(sample_item):
    text = decametre("info", sample_item).stdout
    assert "600 x 600 at 10 m, EPSG:32633" in text
    found = json.loads(decametre("info", sample_item, "--json").stdout)
    assert found["level"] == "L1C"
    assert found["tile"] == "33UUB"
    assert found["grid"]["width"] == 600
    assert len(found["bands"]) == 12
    assert found["bands"]["B8A"]["gsd"] == 20
    assert found["offset"]
    assert found["missing"] == {}


def test_info_honours_the_offset_option(sample_item):
    found = json.loads(decametre("info", sample_item, "--offset", "-1000", "--json").stdout)
    assert found["bands"]["B02"]["offset_dn"] == -1000


def test_models():
    text = decametre("models").stdout
    assert "native_2x" in text
    assert "bicubic_6x" in text
    cards = json.loads(decametre("models", "--json").stdout)
    assert {card["id"] for card in cards} >= {"native_2x", "native_6x", "bicubic_2x"}
    card = json.loads(decametre("models", "native_2x").stdout)
    assert card["properties"]["decametre:margin"] > 0
    assert card["properties"]["decametre:training"]["products"]


def test_models_of_one_family():
    """Only its members, with the score of each kernel that they were validated with."""
    from decametre.superres.models.registry import families, shipped_cards

    text = decametre("models", "native").stdout
    assert "native (default)" in text
    assert "regression" not in text
    for name in families()["native"]:
        (row,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        for ratio in shipped_cards()[name].ratios_of_kernels.values():
            assert f"{ratio:.3f}" in row
    cards = json.loads(decametre("models", "native", "--json").stdout)
    assert [card["id"] for card in cards] == families()["native"]


def test_env_names_no_user_and_no_path(monkeypatch):
    monkeypatch.setenv("GDAL_NUM_THREADS", "1")
    found = json.loads(decametre("env", "--json").stdout)
    assert found["decametre"] == __version__
    assert found["gdal_drivers"] == {"COG": True, "JP2OpenJPEG": True}
    assert "GDAL_NUM_THREADS" in found["environment_variables"]
    assert str(Path.home()) not in json.dumps(found)


def test_sharpen(sample_item, tmp_path):
    words = ("--window", "1,1,100,50", "--bands", "B2,B5,B1")
    done = decametre_in_new_interpreter("sharpen", sample_item, tmp_path / "x.tif", *words)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "window 1,1,100,50 snapped outward to 0,0,102,54" in done.stderr
    assert "offset: " in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.json", "x.quality.json", "x.tif"]


def test_quiet_prints_nothing(sample_item, tmp_path):
    done = decametre("-q", "sharpen", sample_item, tmp_path / "x.tif", "--window", "0,0,60,60")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nothing.SAFE"], "nothing.SAFE"),
        (["sharpen", "{item}", "{out}", "--bands", "B99"], "unknown band 'B99'"),
        (["sharpen", "{item}", "{out}", "--window", "1,2,3"], "COL,ROW,WIDTH,HEIGHT"),
        (["sharpen", "{item}", "{out}", "--window", "a,b,c,d"], "COL,ROW,WIDTH,HEIGHT"),
        (["sharpen", "{item}", "{out}", "--window", "0,0,9999,9"], "outside the product"),
        (["sharpen", "{item}", "{out}", "--model", "nativ"], "did you mean native"),
        (["sharpen", "{item}", "{out}", "--offset", "lots"], "lots"),
        (["sharpen", "{item}", "/no/such/folder/x.tif"], "does not exist"),
        (["sharpen", "{item}"], "Missing argument 'OUTPUT'"),
        (["sharpen", "{item}", "{out}", "--bandz", "B05"], "No such option"),
        (["models", "nativ_2x"], "did you mean native_2x"),
        (["sharpn"], "sharpn"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(arguments, words, sample_item, tmp_path):
    given = [a.format(item=sample_item, out=tmp_path / "x.tif") for a in arguments]
    done = decametre(*given, cwd=tmp_path)
    assert_one_line_error(done, words)
    assert list(tmp_path.iterdir()) == []


def test_standard_output_on_a_full_disk(monkeypatch, capsys):
    @click.command()
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "argv", ["decametre"])
    assert main.run(full) == 2
    error = capsys.readouterr().err
    assert error == "decametre: error: cannot write: No space left on device; free some space\n"


@pytest.mark.parametrize("ignored", [False, True])
def test_hangup_ends_a_job_like_ctrl_c_unless_ignored(monkeypatch, capsys, ignored):
    @click.command()
    def hang_up():
        signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(sys, "argv", ["decametre"])
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as exit:
            main.main(hang_up)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert exit.value.code == (0 if ignored else 130)
    assert ("interrupted" in capsys.readouterr().err) == (not ignored)


def test_simple_mistakes_are_reported_without_importing_torch(sample_item, tmp_path):
    """torch takes seconds and a gigabyte."""
    existing = tmp_path / "existing.tif"
    existing.touch()
    mistakes = [
        ["info", tmp_path / "x.SAFE"],
        ["sharpen", tmp_path / "x.SAFE", tmp_path / "new.tif"],
        ["sharpen", sample_item, existing],
        ["sharpen", sample_item, tmp_path / "new.png"],
        ["landcover", "predict", tmp_path / "x.SAFE", tmp_path / "new.tif", "--model", tmp_path],
        ["patches", "extract", tmp_path / "x.SAFE", tmp_path / "new.h5"],
        ["fleet", "sharpen", tmp_path / "list.txt", tmp_path],
    ]
    script = """
import json, sys
from decametre.cli import main
for sys.argv in json.loads(sys.argv[1]):
    print(main.run(main.cli), "torch" in sys.modules)
"""
    arguments = json.dumps([["decametre", *map(str, words)] for words in mistakes])
    result = subprocess.run(
        [sys.executable, "-c", script, arguments], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["2 False"] * len(mistakes)
