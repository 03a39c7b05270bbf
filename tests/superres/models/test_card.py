import json

import pytest

from decametre.errors import ModelError
from decametre.model_folder import item_text
from decametre.superres.models.card import Card
from decametre.superres.models.registry import BANDS_FOR_SCALE, WEIGHTS_FOLDER
from tests.support.stac_schemas import errors_of

CARD = Card(
    name="mine_2x",
    architecture="native",
    config={"width": 8, "blocks": 1},
    bands_in=BANDS_FOR_SCALE[2],
    margin=4,
    projection="mtf",
    training={"kernel": "dsen2"},
    scores={"ratio": 0.3},
    parameters=7,
    checksum="ab" * 32,
)


def test_a_written_card_is_read_unchanged():
    assert Card.from_stac(json.loads(json.dumps(CARD.to_stac())), "here") == CARD


def test_properties_that_follow_from_the_bands():
    assert CARD.scale == 2
    assert CARD.bands_out == ("B05", "B06", "B07", "B8A", "B11", "B12")
    assert CARD.bands[:2] == ("B02", "B03")


def test_it_is_a_stac_item_of_the_mlm_extension():
    item = CARD.to_stac()
    assert item["type"] == "Feature"
    assert any("/mlm/" in url for url in item["stac_extensions"])
    assert item["properties"]["mlm:input"][0]["input"]["shape"] == [-1, 4, -1, -1]
    assert item["assets"]["weights"]["file:checksum"] == "1220" + "ab" * 32
    assert "Copernicus" in item["properties"]["attribution"]


@pytest.mark.parametrize("name", ["native_2x", "native_6x"])
def test_shipped_cards_are_valid_stac_mlm(name):
    item = json.loads((WEIGHTS_FOLDER / name / "card.json").read_text())
    assert errors_of(item) == []
    assert Card.read(WEIGHTS_FOLDER / name).to_stac() == item


def test_an_invalid_card_is_seen():
    item = json.loads(json.dumps(CARD.to_stac()))
    del item["assets"]["weights"]["mlm:artifact_type"]
    assert len(errors_of(item)) == 1
    assert errors_of(CARD.to_stac() | {"geometry": "here"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decametre:margin": None}, "margin: Input should be a valid integer, not None"),
        ({"decametre:margin": -1}, "margin: Input should be .* equal to 0, not -1"),
        ({"decametre:alignment": 0}, "alignment: Input should be .* equal to 1, not 0"),
        ({"decametre:bands_in": {"10": ["B05"]}}, "no band 'B05' at 10 m"),
        ({"decametre:bands_in": {"20": ["B99"]}}, "no band 'B99' at 20 m"),
    ],
)
def test_a_bad_card_is_a_one_line_error(change, words):
    item = CARD.to_stac()
    item["properties"] |= change
    with pytest.raises(ModelError, match=words) as error:
        Card.from_stac(item, "somewhere/card.json")
    assert str(error.value).startswith("somewhere/card.json")


def test_no_card_and_no_json(tmp_path):
    with pytest.raises(ModelError, match=r"no card.json there"):
        Card.read(tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ModelError, match="not readable as JSON"):
        Card.read(tmp_path)


@pytest.mark.parametrize("path", sorted(WEIGHTS_FOLDER.glob("*/card.json")), ids=str)
def test_shipped_cards_are_rewritten_with_the_same_bytes(path):
    assert item_text(Card.read(path.parent).to_stac()) == path.read_text()


def test_a_missing_field_is_named():
    item = CARD.to_stac()
    del item["properties"]["decametre:training"]
    with pytest.raises(ModelError, match=r"not a decametre model card .*decametre:training"):
        Card.from_stac(item, "here")
    del (item := CARD.to_stac())["properties"]["decametre:projection"]  # added later
    assert Card.from_stac(item, "here").projection is None
