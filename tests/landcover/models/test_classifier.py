"""Classifying stored patches: any number of ranks, any offset."""

import numpy as np
import pytest
import torch

from decametre.errors import ModelError
from decametre.landcover.models.card import load_land_cover, store_thresholds
from decametre.landcover.models.classifier import (
    BATCH,
    predict_patches,
    reflectance,
    shard_for_rank,
    thresholds_of,
)
from decametre.landcover.patches.images import images_of
from decametre.landcover.patches.nomenclature import BIGEARTHNET19
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from tests.landcover.models.tiny_model import tiny_model
from tests.landcover.patches.synthetic_patches import HEADER, synthetic_patch


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, BATCH, 3 * BATCH + 5])
def test_whole_batches_are_dealt(count, size):
    indices = np.arange(count) * 2
    shares = [shard_for_rank(indices, rank, size) for rank in range(size)]
    assert sorted(np.concatenate(shares).tolist()) == indices.tolist()
    batches = [indices[at : at + BATCH].tolist() for at in range(0, count, BATCH)]
    for share in shares:
        for at in range(0, len(share), BATCH):
            assert share[at : at + BATCH].tolist() in batches


def test_reflectance_may_be_negative_and_gaps_show_the_mean_of_the_band_in_the_patch():
    dn = torch.tensor(
        [
            [[[0.0, 1500.0, 500.0, 600.0]], [[3000.0, 0.0, 0.0, 0.0]]],
            [[[0.0, 0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0, 0.0]]],
        ]
    )
    found = reflectance(dn, torch.tensor([[-1000.0, 0.0], [-1000.0, 8.0]]))
    expected = [
        [[[2600 / 3 - 1000, 500.0, -500.0, -400.0]], [[3000.0] * 4]],
        [[[0.0] * 4], [[9.0, 10.0, 11.0, 10.0]]],
    ]
    torch.testing.assert_close(found, torch.tensor(expected) / 10000)


def test_a_gap_is_filled_alike_in_any_company():
    random = np.random.default_rng(0)
    dn = torch.from_numpy(random.integers(0, 3, (6, 12, 120, 120)) * 20_001).float()
    offset = torch.zeros(6, 12)
    whole = reflectance(dn, offset)
    for at in range(6):
        torch.testing.assert_close(
            reflectance(dn[at : at + 1], offset[:1])[0], whole[at], rtol=0, atol=0
        )


def test_patches_come_in_the_order_of_indices(tmp_path):
    count = BATCH + 3
    with PatchWriter(tmp_path / "patches.h5", HEADER, count) as writer:
        writer.append([synthetic_patch(f"patch{number}") for number in range(count)])
    store = PatchStore(tmp_path / "patches.h5")
    model = load_land_cover(tiny_model(tmp_path / "tiny"))
    images = images_of(model.card.bands_in, store, sharpened=False)
    cpu = torch.device("cpu")
    counted = []
    whole = predict_patches(model.network, store, np.arange(count), images, cpu, counted.append)
    assert counted == [BATCH, count]
    some = predict_patches(model.network, store, np.array([66, 3, 40]), images, cpu)
    np.testing.assert_allclose(some.scores, whole.scores[[66, 3, 40]], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(some.truth, store.labels[[66, 3, 40]])
    assert len(predict_patches(model.network, store, np.empty(0, np.int64), images, cpu)) == 0


def test_thresholds_stand_in_the_card_and_the_weights_stay(tmp_path):
    folder = tiny_model(tmp_path / "tiny")
    before = load_land_cover(folder).card
    assert set(thresholds_of(before).values) == {0.5}
    values = dict.fromkeys(BIGEARTHNET19.classes, 0.25)
    store_thresholds(folder, {"rule": "global", "values": values, "untuned": []})
    card = load_land_cover(folder).card
    assert thresholds_of(card).values == (0.25,) * 19
    assert card.checksum == before.checksum
    store_thresholds(folder, {"rule": "global", "values": {"water": 0.5}})
    with pytest.raises(ModelError, match="not of the model's classes"):
        thresholds_of(load_land_cover(folder).card)
