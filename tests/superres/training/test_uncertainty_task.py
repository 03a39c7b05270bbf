"""Training on real pixels: the network learns where the errors of bicubic interpolation are."""

import json

import numpy as np
import pytest
import torch

import decametre.api as api
from decametre.errors import TrainingError
from decametre.superres.models.uncertainty import LEVELS, UncertaintyCard
from decametre.superres.training.uncertainty_task import (
    factors_of,
    negative_log_likelihood,
    scene_record,
)

TINY = {
    "network.model": "bicubic_2x",
    "network.config": {"width": 8, "blocks": 1},
    "data.patch": 12,
    "optimization.steps": 60,
    "optimization.batch": 4,
    "optimization.schedule": {"rule": "cosine", "rate": 1e-2, "warmup": 5},
    "optimization.average": 0.9,
    "validate_every": 30,
}


def train(sample_item, folder, **options):
    return api.train(
        "uncertainty_2x",
        folder,
        train=[sample_item],
        validation=[sample_item],
        settings=TINY,
        precision="float32",
        **options,
    )


def test_training_writes_a_network_with_factors(sample_item, sample, tmp_path):
    result = train(sample_item, tmp_path / "run")
    card = UncertaintyCard.read(tmp_path / "run")
    assert card == result.card
    assert (card.of, card.of_checksum) == ("bicubic_2x", "")
    assert list(card.factors) == ["B05", "B06", "B07", "B8A", "B11", "B12"]
    for factors in card.factors.values():
        assert list(factors) == ["deviation", *map(str, LEVELS)]
        halves = [factors[str(level)] for level in LEVELS]
        assert halves == sorted(halves)
    first, last = (
        json.loads(line)["negative_log_likelihood"]
        for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    )
    assert last < first
    assert card.training["products"] == [sample.id]
    assert "as `uncertainty`" in result.summary()


def test_there_is_no_initial_model(sample_item, tmp_path):
    with pytest.raises(TrainingError, match="starts with random weights; remove it"):
        train(sample_item, tmp_path / "run", init="native_2x")
    assert not (tmp_path / "run").exists()


def test_the_likelihood_is_highest_for_the_mean_absolute_error():
    errors = torch.tensor([-3.0, 1.0, 2.0])
    means = [
        float(negative_log_likelihood(errors, torch.tensor(scale)).mean())
        for scale in (1.8, 2.0, 2.2)
    ]
    assert min(means) == means[1] == pytest.approx(np.log(2) + 1)


def test_factors_are_quantiles_of_the_scored_pixels():
    errors = torch.arange(-100.0, 101).reshape(1, 1, 3, 67).repeat(1, 2, 1, 1)
    mask = torch.ones_like(errors, dtype=torch.bool)
    mask[:, 0, 0] = False  # errors from -33 on
    mask[:, 1] = False
    record = scene_record(errors, torch.full_like(errors, 2.0), mask)
    scored, missing = record.bands
    kept = np.abs(np.arange(-33, 101)) / 2
    assert missing is None
    assert record.cost == pytest.approx(np.log(2) + kept.mean())
    factors = factors_of([scored, missing])
    assert factors["deviation"] == pytest.approx(np.sqrt((kept**2).mean()), abs=1e-4)
    for level in LEVELS:
        assert (kept <= factors[str(level)]).mean() == pytest.approx(level / 100, abs=0.01)
    with pytest.raises(TrainingError, match="give others"):
        factors_of([None])


def test_scenes_count_equally_in_factors():
    few, many = np.full(200, 1.0), np.full(200, 3.0)
    factors = factors_of([(1.0, few), (9.0, many), (9.0, many)])
    assert factors["deviation"] == pytest.approx(np.sqrt(19 / 3), abs=1e-4)
    assert (factors["50"], factors["95"]) == (3, 3)
    assert factors_of([(1.0, few), (1.0, few), (9.0, many)])["50"] == 1
