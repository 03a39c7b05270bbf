"""Real pixels, and the one-line-error check that many tests need."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in each run, and no time limits, which fail on a busy machine.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample_item() -> str:
    """A complete Level-1C crop of 600 x 600 pixels at 10 m, as a STAC item."""
    return str(ROOT / "sample" / "T33UUB" / "item.json")


@pytest.fixture(scope="session")
def sample(sample_item):
    import decametre

    return decametre.open(sample_item)
