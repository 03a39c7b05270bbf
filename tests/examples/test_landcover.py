"""The example of land cover: its recipe can be read, its Makefile asks for all steps."""

import shutil
import subprocess

import pytest

from decametre.recipes.reading import read_recipe
from tests.conftest import ROOT

FOLDER = ROOT / "examples" / "landcover"


def test_the_recipe():
    recipe = read_recipe(str(FOLDER / "learnability.yaml"), {}, ["train.h5"], ["val.h5"])
    assert recipe.network.backbone == "resnet50"
    assert recipe.network.upsampling == "super-resolution"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_makefile(tmp_path):
    for scene in ("train/a", "train/b", "val/c", "test/d"):
        (tmp_path / "scenes" / scene).mkdir(parents=True)
        (tmp_path / "scenes" / scene / "item.json").touch()
    output = subprocess.run(
        ["make", "-n", "-C", FOLDER, f"SCENES={tmp_path / 'scenes'}", f"WORK={tmp_path / 'work'}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = output.replace("\\\n", " ").splitlines()
    assert sum("patches extract" in line for line in commands) == 4
    assert sum("--stride 600" in line for line in commands if "extract" in line) == 2
    (train,) = (line for line in commands if " train " in line and "extract" not in line)
    assert "--validation" in train
    assert [line for line in commands if "merge" in line and "test.h5" in line]
    assert "landcover evaluate" in output
    assert "map/d.tif" in output
    # Scenes under test reach nothing before the evaluation.
    before = commands[: commands.index(train) + 1]
    assert not [line for line in before if "merge" in line and "/test/" in line]
