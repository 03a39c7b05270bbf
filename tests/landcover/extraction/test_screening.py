"""Snow, cloud and shadow: by lists, and by the scene classification."""

import numpy as np
import pytest
import rasterio

from decametre.errors import MissingBandError, PatchError
from decametre.landcover.extraction.patch_lists import CompleteGrid
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.extraction.screening import (
    exclude_by_name,
    exclude_by_scene_class,
    read_exclusions,
)
from decametre.sentinel2.opening import open_product
from tests.landcover.extraction.scenes import made_product


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """Nine patches; each of some is covered by one class over a tenth."""
    safe, _ = made_product(tmp_path_factory.mktemp("screening"))
    classes = np.full((180, 180), 4, np.uint8)
    for index, value in {0: 3, 1: 8, 2: 9, 3: 10, 4: 11, 5: 6}.items():
        row, column = divmod(index, 3)
        classes[row * 60 : row * 60 + 6, column * 60 : column * 60 + 60] = value
    (beside,) = safe.glob("GRANULE/*/IMG_DATA/R20m/*_B05_20m.jp2")
    with (
        rasterio.open(beside) as band,
        rasterio.open(
            beside.with_name(beside.name.replace("_B05_", "_SCL_")),
            "w",
            driver="JP2OpenJPEG",
            width=180,
            height=180,
            count=1,
            dtype="uint8",
            crs=band.crs,
            transform=band.transform,
            QUALITY="100",
            REVERSIBLE="YES",
        ) as scl,
    ):
        scl.write(classes, 1)
    return open_product(str(safe))


def screened(product, kinds, limit=0.05):
    kept, left_out = exclude_by_scene_class(
        product, CompleteGrid().locate(product).patches, kinds, limit
    )
    return [patch.name[-5:] for patch in kept], dict(left_out)


def test_each_kind(product):
    everything = [f"{column:02d}_{row:02d}" for row in range(3) for column in range(3)]
    assert screened(product, []) == (everything, {})
    assert screened(product, ["shadow"]) == (everything[1:], {"shadow": 1})
    assert screened(product, ["cloud"]) == ([everything[0], *everything[4:]], {"cloud": 3})
    assert screened(product, ["snow"]) == ([*everything[:4], *everything[5:]], {"snow": 1})
    kept, left_out = screened(product, ["shadow", "cloud", "snow"])
    assert kept == everything[5:]
    assert left_out == {"shadow": 1, "cloud": 3, "snow": 1}


def test_the_limit_is_what_may_be_covered(product):
    assert screened(product, ["snow"], 0.1)[1] == {}
    assert screened(product, ["snow"], 0.0999)[1] == {"snow": 1}
    with pytest.raises(PatchError, match=r"a limit of 1.5"):
        screened(product, ["snow"], 1.5)


def test_level_1c_has_no_classification(sample):
    with pytest.raises(MissingBandError, match="has no scene classification"):
        screened(sample, ["cloud"])


def test_lists_know_both_names():
    patches = [
        LocatedPatch("stored_a", "a", 0, 0),
        LocatedPatch("b", "b", 0, 0, alias="old_b"),
        LocatedPatch("c", "c", 0, 0),
    ]
    for name, left in (("a", "b c"), ("stored_a", "b c"), ("old_b", "a c"), ("c", "a b")):
        kept, left_out = exclude_by_name(patches, frozenset({name}))
        assert " ".join(patch.listed for patch in kept) == left
        assert left_out["listed"] == 1


def test_several_lists(tmp_path):
    (tmp_path / "snow.csv").write_text("a\nb\n")
    (tmp_path / "cloud.csv").write_text("c\n")
    paths = [tmp_path / "snow.csv", tmp_path / "cloud.csv"]
    assert read_exclusions(paths) == {"a", "b", "c"}
    with pytest.raises(PatchError, match="no list of names"):
        read_exclusions([tmp_path / "none.csv"])
