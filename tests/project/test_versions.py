"""The version, which version.py states and other files repeat."""

import re
from pathlib import Path

import pytest

import decametre

ROOT = Path(__file__).parents[2]


def citation_version(text: str) -> str:
    match = re.search(r"^version: (\S+)$", text, re.MULTILINE)
    assert match
    return match.group(1)


def latest_version(changes: str) -> str:
    """The version of the first section, released or not: `## [1.2.0] - 2026-01-31`."""
    match = re.search(r"^## \[(?:Unreleased\] - )?(\d+\.\d+\.\d+)", changes, re.MULTILINE)
    assert match
    return match.group(1)


def test_citation_and_changes_have_the_version_of_the_package():
    assert citation_version((ROOT / "CITATION.cff").read_text()) == decametre.__version__
    assert latest_version((ROOT / "CHANGES.md").read_text()) == decametre.__version__


@pytest.mark.parametrize(
    ("heading", "version"),
    [("## [Unreleased] - 0.2.0", "0.2.0"), ("## [0.3.1] - 2026-12-01", "0.3.1")],
)
def test_the_latest_version_is_that_of_the_first_heading(heading, version):
    assert latest_version(f"# Changes\n\n{heading}\n\n## [0.1.0] - 2026-11-01\n") == version
