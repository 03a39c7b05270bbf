"""Verbs and functions whose optional dependencies are missing; what works without any."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from decametre import api, extras
from decametre.cli.main import VERBS, cli
from decametre.errors import MissingExtraError

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample/T33UUB/item.json"

BLOCK_EXTRAS = """
import sys
from importlib.machinery import PathFinder
from decametre.extras import MODULES

blocked = {module for modules in MODULES.values() for module in modules}
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: (
    None if name.partition(".")[0] in blocked else find(name, *where)
)
"""
RUN = "from decametre.cli.main import main; sys.argv = ['decametre', *sys.argv[1:]]; main()"


def run_without_extras(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an environment in which no module of any extra can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK_EXTRAS + code, *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["fleet", "sharpen", "products.txt", "out"], "fleet"),
        (["fleet"], "fleet"),
        (["patches", "info", "store.h5", "--json"], "landcover"),
        (["landcover", "predict", "--help"], "landcover"),
        (["train", "native_2x"], "train"),
        (["bench", "balance", "native_2x"], "train"),
        (["models", "export", "native_2x", "out"], "onnx"),
    ],
)
def test_a_verb_without_its_extra_is_one_line_with_the_remedy(arguments, extra):
    done = run_without_extras(RUN, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    command = " ".join(arguments[: 2 if arguments[0] in ("bench", "models") else 1])
    assert f" {command} needs " in done.stderr
    assert done.stderr.endswith(f": pip install 'decametre[{extra}]'\n")


def test_the_help_lists_every_verb_without_any_extra():
    done = run_without_extras(RUN, "--help")
    assert done.returncode == 0
    listed = {
        line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line
    }
    assert listed == set(VERBS)


def test_a_public_function_without_its_extra_raises_the_same_line(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "dask" else object())
    with pytest.raises(MissingExtraError) as caught:
        _ = api.fleet_sharpen
    expected = "decametre.fleet_sharpen needs dask: pip install 'decametre[fleet]'"
    assert str(caught.value) == expected


@pytest.mark.slow
def test_open_sharpen_and_evaluate_need_no_extra(tmp_path):
    code = (
        "import decametre\n"
        f"product = decametre.open({str(SAMPLE)!r})\n"
        f"decametre.sharpen(product, {str(tmp_path / 'sharp.tif')!r}, window=(0, 0, 60, 60))\n"
        f"decametre.evaluate([{str(SAMPLE)!r}], scale=2, window=(0, 0, 240, 240))\n"
    )
    done = run_without_extras(code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sharp.json").exists()


def test_the_extras_of_the_package_are_those_that_are_checked():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = set(declared["optional-dependencies"])
    assert names == {*extras.MODULES, "all", "dev", "docs"}
    assert set(extras.REQUIRED_BY.values()) == set(extras.MODULES)
    groups = {name for name in extras.REQUIRED_BY if name in cli.list_commands(None)}
    assert groups == {"train", "landcover", "patches", "fleet"}
