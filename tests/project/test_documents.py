"""Documents: the paths that they name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".md", ".yaml", ".sh"}


def test_documents_name_files_that_exist():
    """Paths such as docs/fleet.md, wherever the code and the documents mention them."""
    folders = [ROOT / name for name in ("src", "tests", "benchmarks", "examples", "docs")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES]
    missing = {
        (str(path.relative_to(ROOT)), name)
        for path in [*paths, *ROOT.glob("*.md")]
        for name in re.findall(r"(?<![\w/.])docs/[\w/]+\.md", path.read_text())
        if not (ROOT / name).exists()
    }
    assert not missing


def test_design_and_contributing_name_modules_that_exist():
    """Such as `training/loop.py`, which is in the package, or `tests/test_layers.py`."""
    text = (ROOT / "DESIGN.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", text))
    assert "tests/test_layers.py" in named
    assert not {
        name
        for name in named
        if not (ROOT / name).exists() and not (ROOT / "src/decametre" / name).exists()
    }
