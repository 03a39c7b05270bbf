"""Real pixels, and the one-line-error check that many tests need."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample_item() -> str:
    """A complete Level-1C crop of 600 x 600 pixels at 10 m, as a STAC item."""
    return str(ROOT / "sample" / "T33UUB" / "item.json")


@pytest.fixture(scope="session")
def sample(sample_item):
    import decametre

    return decametre.open(sample_item)
