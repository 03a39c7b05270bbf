import pytest

from decametre.recipes.reading import read_recipe
from tests.cli.test_cli import decametre


def test_train_writes_a_model_and_reports_its_score(sample_item, tmp_path):
    done = decametre(
        "train",
        "native_2x",
        "--train",
        sample_item,
        "--validation",
        sample_item,
        "--out",
        tmp_path / "run",
        "--set",
        "optimization.steps=2",
        "--set",
        "optimization.batch=2",
        "--set",
        "network.architecture=native",
        "--set",
        "network.config={width: 8, blocks: 1}",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "of bicubic on the validation products" in done.stderr
    assert (tmp_path / "run" / "card.json").is_file()


def test_a_shipped_recipe_can_be_shown_and_used(tmp_path):
    shown = decametre("train", "native_2x", "--show")
    assert shown.returncode == 0
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    assert decametre("train", tmp_path / "mine.yaml", "--show").stdout == shown.stdout
    assert read_recipe(str(tmp_path / "mine.yaml")) == read_recipe("native_2x")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nativ_2x"], "did you mean native_2x"),
        (["absent.yaml"], "absent.yaml: no such file"),
        (["native_2x"], "data.train names no product"),
        (["native_2x", "--set", "optimization.stepz=3"], "did you mean steps"),
        (["native_2x", "--set", "optimization.steps"], "is not KEY=VALUE"),
        (["native_2x", "--set", "optimization.steps=-1"], "optimization.steps"),
        (["native_2x", "--train", "absent/item.json"], "absent/item.json"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, expected, tmp_path):
    out = tmp_path / "run"
    done = decametre("train", *arguments, "--out", out)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("decametre: error:")
    assert "Traceback" not in done.stderr
    assert not out.exists()
