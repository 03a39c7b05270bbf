"""Valid and invalid patches."""

import numpy as np
import pytest

from decametre.errors import PatchError
from decametre.landcover.patches.patch import LAYOUTS, NATIVE_KEYS
from tests.landcover.patches.synthetic_patches import synthetic_patch


def test_the_layouts_are_those_of_bigearthnet():
    assert {key: layout.shape for key, layout in LAYOUTS.items()} == {
        "data_10m": (4, 120, 120),
        "data_20m": (6, 60, 60),
        "data_60m": (2, 20, 20),
        "data_super": (12, 120, 120),
    }


def test_the_order_of_bands_is_a_contract():
    """Stores of other versions rely on it."""
    assert LAYOUTS["data_10m"].bands == ("B02", "B03", "B04", "B08")
    assert LAYOUTS["data_20m"].bands == ("B05", "B06", "B07", "B8A", "B11", "B12")
    assert LAYOUTS["data_60m"].bands == ("B01", "B09")
    assert LAYOUTS["data_super"].bands == (
        *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
    )


@pytest.mark.parametrize("keys", [NATIVE_KEYS, ("data_super",), tuple(LAYOUTS)])
def test_a_patch_is_native_or_sharpened_or_both(keys):
    assert set(synthetic_patch("a", keys).data) == set(keys)


@pytest.mark.parametrize("keys", [(), ("data_10m",), (*NATIVE_KEYS[:2], "data_super")])
def test_a_patch_with_other_images_is_refused(keys):
    with pytest.raises(PatchError, match="data_super, or all"):
        synthetic_patch("a", keys)


def test_an_image_of_another_size_or_type_is_refused():
    whole = synthetic_patch("a").data
    for image in (whole["data_60m"][:, 1:], whole["data_60m"].astype(np.float32)):
        with pytest.raises(PatchError, match="patch a: data_60m"):
            synthetic_patch("a", data={**whole, "data_60m": image})


def test_a_split_or_offset_that_is_none_is_refused():
    with pytest.raises(PatchError, match="split 'val' is not one of train"):
        synthetic_patch("a", split="val")
    with pytest.raises(PatchError, match="offsets"):
        synthetic_patch("a", offset=np.zeros(13, np.int32))
