import dataclasses
import json
import math

import pytest
import torch

from decametre.models.card import Card
from decametre.models.registry import BANDS_FOR_SCALE, build, load_folder
from decametre.scenes import load_scene
from decametre.training.loop import Settings, learning_rate, loss_of, train
from decametre.training.presets import PRESETS
from decametre.wald import Pair

TINY = Settings(
    scale=2,
    network="native",
    config={"width": 16, "blocks": 1},
    steps=200,
    batch=4,
    patch=12,
    rate=1e-2,
    warmup=5,
    average=0.9,
    validate_every=100,
)


@pytest.fixture(scope="module")
def scenes(sample):
    bands = [name for names in BANDS_FOR_SCALE[2].values() for name in names]
    return [load_scene(sample, bands)]


def test_it_learns_and_leaves_a_model_that_loads(scenes, tmp_path):
    card = train("tiny_2x", TINY, scenes, scenes, tmp_path)
    model = load_folder(tmp_path)
    assert model.card == card
    assert card.scores["rmse_ratio_to_bicubic"] < 0.9
    assert card.training["scenes"] == [scenes[0].name]
    assert card.training["settings"]["kernel"] == "dsen2"
    assert "Copernicus" in card.attribution
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [100, 200]
    assert card.scores["rmse_ratio_to_bicubic"] == min(record["ratio"] for record in records)


def test_the_same_seed_gives_the_same_weights(scenes, tmp_path):
    settings = dataclasses.replace(TINY, steps=3)
    cards = [train("tiny_2x", settings, scenes, scenes, tmp_path / name) for name in "ab"]
    assert cards[0].checksum == cards[1].checksum


def test_the_loss_is_a_sum_and_a_count_over_the_mask():
    card = Card("x", "bicubic", {}, BANDS_FOR_SCALE[2], 2)
    inputs = {10: torch.zeros(1, 4, 8, 8), 20: torch.full((1, 6, 4, 4), 0.5)}
    target = torch.full((1, 6, 8, 8), 0.2)
    target[..., 0, 0] = 1e6
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[..., 0, 0] = False
    total, count = loss_of(build(card), Pair(inputs, target, mask), torch.float32)
    assert count == 6 * 63
    assert float(total) == pytest.approx(0.3 * count, rel=1e-5)


def test_the_learning_rate_rises_and_falls_to_zero():
    settings = dataclasses.replace(TINY, steps=105, warmup=5, rate=1.0)
    assert learning_rate(0, settings) == pytest.approx(0.2)
    assert learning_rate(5, settings) == 1.0
    assert learning_rate(55, settings) == pytest.approx(0.5)
    assert math.isclose(learning_rate(105, settings), 0, abs_tol=1e-12)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build_the_shipped_networks(name):
    from decametre.models.registry import shipped_cards

    settings, card = PRESETS[name], shipped_cards()[name]
    assert (settings.network, settings.config) == (card.network, card.config)
    assert settings.scale == card.scale
