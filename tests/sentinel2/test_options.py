import pytest

from decametre.errors import GridError
from decametre.sentinel2.options import PartOfProduct


@pytest.mark.parametrize("box", [(13, 51, 14, 52), (177.5, 51, -178.2, 52)])
def test_boxes_including_those_over_the_antimeridian(box):
    assert PartOfProduct(bbox=box).bbox == box


@pytest.mark.parametrize(
    "box", [(14, 51, 13, 52), (13, 51, 13, 52), (13, 52, 14, 51), (177.5, 52, -178.2, 51)]
)
def test_empty_boxes(box):
    with pytest.raises(GridError, match="is empty"):
        PartOfProduct(bbox=box)
