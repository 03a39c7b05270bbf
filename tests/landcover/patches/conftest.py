"""A small store of patches."""

import pytest

from decametre.landcover.patches.store_writer import PatchWriter
from tests.landcover.patches.synthetic_patches import HEADER, synthetic_patch


@pytest.fixture
def patches():
    return [synthetic_patch(f"patch_{number}") for number in range(10)]


@pytest.fixture
def path(tmp_path, patches):
    path = tmp_path / "some.h5"
    with PatchWriter(path, HEADER, len(patches)) as writer:
        writer.append(patches[:7])
        writer.append(patches[7:])
    return path
