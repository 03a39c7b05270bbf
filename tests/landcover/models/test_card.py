import json

import pytest
import torch

from decametre.errors import ModelError
from decametre.landcover.models.card import (
    LandCoverCard,
    build_land_cover,
    load_land_cover,
    save_land_cover,
)
from decametre.model_folder import CARD_NAME, WEIGHTS_NAME
from decametre.superres.models.card import Card

CARD = LandCoverCard(
    name="tiny",
    architecture="test_resnet",
    config={},
    norm="merged",
    bands_in={10: ("B02", "B08"), 60: ("B01",)},
    sharpened=False,
    nomenclature="made",
    classes=("water", "wood"),
    thresholds={"rule": "fixed"},
)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = build_land_cover(CARD)
    network.mean.fill_(0.1)
    card = save_land_cover(tmp_path / "tiny", CARD, network)
    return tmp_path / "tiny", card, network.eval()


def test_a_model_comes_back_as_it_was(saved):
    folder, card, network = saved
    model = load_land_cover(folder)
    assert model.card == card
    assert card.bands == ("B01", "B02", "B08")
    assert card.parameters == sum(p.numel() for p in network.parameters())
    images = {10: torch.rand(2, 2, 120, 120), 60: torch.rand(2, 1, 20, 20)}
    with torch.no_grad():
        assert torch.equal(model.network(images), network(images))


def test_a_card_is_a_stac_item_with_its_classes(saved):
    item = json.loads((saved[0] / CARD_NAME).read_text())
    assert item["properties"]["mlm:tasks"] == ["scene-classification"]
    assert [c["name"] for c in item["properties"]["mlm:output"][0]["classification:classes"]] == [
        "water",
        "wood",
    ]


def test_a_model_of_another_task_is_named_as_one(saved, tmp_path):
    with pytest.raises(ModelError, match="for scene-classification; give one for super-resolution"):
        Card.read(saved[0])


@pytest.mark.parametrize("damage", ["weights", "missing", "field", "band"])
def test_damage_is_named(saved, damage):
    folder = saved[0]
    item = json.loads((folder / CARD_NAME).read_text())
    if damage == "weights":
        content = bytearray((folder / WEIGHTS_NAME).read_bytes())
        content[-1] ^= 1
        (folder / WEIGHTS_NAME).write_bytes(content)
    elif damage == "missing":
        (folder / WEIGHTS_NAME).unlink()
    elif damage == "field":
        del item["properties"]["decametre:norm"]
    else:
        item["properties"]["decametre:bands_in"]["10"] = ["B10"]
    (folder / CARD_NAME).write_text(json.dumps(item))
    messages = {"weights": "SHA-256", "missing": "is missing", "field": "norm", "band": "B10"}
    with pytest.raises(ModelError, match=messages[damage]):
        load_land_cover(folder)
