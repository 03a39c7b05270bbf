"""Random choices for a sample depend only on the seed and the number of the sample."""

import pickle

import numpy as np
import pytest
import torch

from decametre.landcover.patches.images import chosen_images
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.training.recipe import Mixup
from decametre.landcover.training.samples import LandCoverSamples, read_batch, reorient
from tests.landcover.training.test_task import make_store

BANDS = ("B02", "B8A", "B12")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PatchStore(make_store(tmp_path_factory.mktemp("patches") / "patches.h5"))


def samples_of(store, turn=True, mixup=None, dropout=0.5, seed=3):
    images = chosen_images(BANDS, store, sharpened=False)
    return LandCoverSamples(store, np.arange(4, 24), images, seed, turn, mixup, dropout, 100)


CPU = torch.device("cpu")


def seen(batch):
    images = batch.images(CPU, torch.float64)
    return [*images.values(), batch.targets(CPU, torch.float64), batch.factors(CPU, torch.float64)]


@pytest.mark.parametrize("mixup", [None, Mixup(), Mixup(alpha=1.0, form="difference")], ids=str)
def test_a_sample_does_not_depend_on_its_batch(store, mixup):
    samples = samples_of(store, mixup=mixup)
    whole = seen(samples.__getitems__([5, 25, 7, 19]))
    parts = [seen(samples.__getitems__(part)) for part in ([5], [25, 7, 19])]
    again = seen(pickle.loads(pickle.dumps(samples)).__getitems__([5, 25, 7, 19]))
    for all_of_it, first, rest, other in zip(whole, *parts, again, strict=True):
        assert torch.equal(all_of_it, torch.cat([first, rest]))
        assert torch.equal(all_of_it, other)
    # The same place in the next epoch, and another seed, are drawn anew.
    assert not torch.equal(whole[-1][0], whole[-1][1])
    assert not torch.equal(whole[-1], seen(samples_of(store, mixup=mixup, seed=4)
                                           .__getitems__([5, 25, 7, 19]))[-1])  # fmt: skip


def test_without_augmentation_a_sample_is_the_patch_as_reflectance(store):
    batch = samples_of(store, turn=False, dropout=0.0).__getitems__([0, 39])
    found = store.read([4, 23], ["data_10m", "data_20m", "classes"])
    images = batch.images(CPU, torch.float64)
    np.testing.assert_allclose(images[10], (found["data_10m"][:, :1] - 1000.0) / 10000)
    np.testing.assert_allclose(images[20], (found["data_20m"][:, [3, 5]] - 1000.0) / 10000)
    np.testing.assert_array_equal(batch.targets(CPU, torch.float64), found["classes"])
    assert batch.factors(CPU, torch.float64) is None


def test_nodata_is_the_mean_of_the_band_whatever_the_offset(store):
    batch = read_batch(store, [0], chosen_images(BANDS, store, sharpened=False))
    whole = batch.images(CPU, torch.float64)[10][0, 0]
    batch.dn[10][0, 0, 7, 9] = 0
    image = batch.images(CPU, torch.float64)[10][0, 0]
    others = torch.ones_like(whole, dtype=torch.bool)
    others[7, 9] = False
    torch.testing.assert_close(image[7, 9], whole[others].mean())
    assert torch.equal(image[others], whole[others])


def test_every_orientation_occurs_and_keeps_the_pixels():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    found = reorient(image.repeat(8, 1, 1, 1), torch.arange(8))
    assert len({tuple(turn.flatten().tolist()) for turn in found}) == 8
    for turn in found:
        assert turn[0, 1, 1] == 4
        assert sorted(turn[0, ::2, ::2].flatten().tolist()) == [0, 2, 6, 8]
    assert torch.equal(found[1, 0], torch.rot90(image[0, 0]))


@pytest.mark.parametrize("form", ["convex", "difference"])
def test_mixup_by_hand(store, form):
    samples = samples_of(store, turn=False, mixup=Mixup(alpha=0.4, form=form))
    numbers = list(range(20))
    batch = samples.__getitems__(numbers)
    raw = batch.dn[10].double()
    own, other = (raw[:20] - 1000) / 10000, (raw[20:] - 1000) / 10000
    part = batch.parts.double()[:, None, None, None]
    sign = 1 if form == "convex" else -1
    expected = part * own + sign * (1 - part) * other
    torch.testing.assert_close(batch.images(CPU, torch.float64)[10], expected)
    labels = batch.classes.double()
    mixed = batch.parts[:, None] * labels[:20] + (1 - batch.parts[:, None]) * labels[20:]
    torch.testing.assert_close(batch.targets(CPU, torch.float64), mixed)
    assert 0 <= float(mixed.min()) <= float(mixed.max()) <= 1 + 1e-6
    # Beta(0.4, 0.4): most mixtures are nearly pure, from both ends.
    parts = np.array([samples._draw(number)[2] for number in range(400)])
    assert abs(parts.mean() - 0.5) < 0.05
    assert abs(parts.var() - 0.25 / 1.8) < 0.02


def test_dropout_keeps_the_mean(store):
    kept = samples_of(store, dropout=0.25).__getitems__(list(range(40))).kept
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float(kept.mean()) == pytest.approx(1, abs=0.03)
