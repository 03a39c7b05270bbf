"""Evaluation of models on a store: equal on any number of processes; no tuning on test patches."""

import json
import sys

import numpy as np
import pytest
import torch

from decametre import api
from decametre.errors import DecametreError, EvaluationError, PatchError
from decametre.landcover.evaluation import tables
from decametre.landcover.metrics.scores import score
from decametre.landcover.metrics.thresholds import fixed, tuned
from decametre.landcover.models.card import load_land_cover
from decametre.landcover.models.classifier import BATCH, predict_patches
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.images import images_of
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, Nomenclature
from decametre.landcover.patches.patch import NATIVE_KEYS
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from tests.landcover.models.tiny_model import SHARPENED, tiny_model
from tests.landcover.patches.synthetic_patches import synthetic_patch
from tests.training.team import finish, start

COUNTS = {"train": 3, "validation": 20, "test": BATCH + 9}


def make_store(path, counts, nomenclature=BIGEARTHNET19, prefix="patch"):
    """Patches of 16-bit noise with different brightness, in the order of the splits."""
    patches = []
    for split, count in counts.items():
        for number in range(count):
            name = f"{prefix}{split}{number}"
            fresh = synthetic_patch(name)
            dimmed = {key: image // (2 + number % 20) for key, image in fresh.data.items()}
            labels = nomenclature.classes[number % 3 : number % 3 + 1]
            labels = fresh.labels if nomenclature == BIGEARTHNET19 else labels
            patches.append(synthetic_patch(name, split=split, data=dimmed, labels=labels))
    header = Header(nomenclature, NATIVE_KEYS, attribution="made")
    with PatchWriter(path, header, len(patches)) as writer:
        writer.append(patches)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("landcover")


@pytest.fixture(scope="module")
def path(folder):
    return make_store(folder / "patches.h5", COUNTS)


@pytest.fixture(scope="module")
def model(folder):
    return tiny_model(folder / "tiny")


def predictions(model, path, split):
    loaded, store = load_land_cover(model), PatchStore(path)
    images = images_of(loaded.card.bands_in, store, sharpened=False)
    indices = store.indices(split)
    return predict_patches(loaded.network, store, indices, images, torch.device("cpu"))


def test_scores_are_computed_from_the_predictions_for_the_split(path, model):
    found = api.evaluate_land_cover(path, model)
    assert found.samples == COUNTS["test"]
    assert found.models[0].scores == score(predictions(model, path, "test"), fixed(19).values)
    assert found.models[0].checksum == load_land_cover(model).card.checksum
    every = api.evaluate_land_cover(path, model, split="all")
    assert every.samples == sum(COUNTS.values())


def test_thresholds_are_tuned_on_validation_and_kept_on_request(folder):
    path = make_store(folder / "small.h5", {"validation": 40, "test": 60})
    model = tiny_model(folder / "kept")
    checksum = load_land_cover(model).card.checksum
    untuned = api.evaluate_land_cover(path, model)
    for rule in ("global", "per_class"):
        found = api.evaluate_land_cover(path, model, thresholds=rule).models[0]
        assert found.thresholds == tuned(predictions(model, path, "validation"), rule)
        assert found.scores == score(predictions(model, path, "test"), found.thresholds.values)
    assert load_land_cover(model).card.thresholds == {}
    kept = api.evaluate_land_cover(path, model, thresholds="per_class", keep_thresholds=True)
    card = load_land_cover(model).card
    assert card.checksum == checksum
    assert card.thresholds["values"] == dict(
        zip(card.classes, kept.models[0].thresholds.values, strict=True)
    )
    again = api.evaluate_land_cover(path, model)
    assert again.models[0].scores == kept.models[0].scores != untuned.models[0].scores
    assert api.evaluate_land_cover(path, model, thresholds="fixed").models[0].scores == (
        untuned.models[0].scores
    )


def test_thresholds_may_be_tuned_on_another_store(path, model, folder):
    other = make_store(folder / "other.h5", {"validation": 15}, prefix="other")
    found = api.evaluate_land_cover(path, model, thresholds="global", tune_on=other, split="all")
    expected = tuned(predictions(model, other, "validation"), "global")
    assert found.models[0].thresholds == expected
    assert str(other) in found.command


def test_several_models_have_different_labels(path, model, folder):
    (folder / "second").mkdir(exist_ok=True)
    twin = tiny_model(folder / "second" / "tiny", bands_in={10: ("B04", "B03", "B02")})
    found = api.evaluate_land_cover(path, [model, twin], split="validation")
    assert [one.label for one in found.models] == ["tiny", "tiny#2"]
    assert found.models[0].scores != found.models[1].scores
    assert len(tables.text(found).splitlines()) > 50


@pytest.mark.slow
def test_two_processes_give_exactly_the_scores_of_one(path, model, tmp_path):
    command = [
        *(sys.executable, "-m", "decametre", "landcover", "evaluate", path, "--model", model),
        *("--thresholds", "per_class", "--json", "--device", "cpu"),
    ]
    results = {}
    for size in (1, 2):
        out = tmp_path / f"ranks{size}"
        ended = finish(start([*command, "--out", out], size))
        for status, _, err in ended:
            assert status == 0, err
        printed = [text for _, text, _ in ended]
        assert printed[1:] == [""] * (size - 1)
        found = json.loads(printed[0])
        assert found == json.loads((out / "scores.json").read_text())
        del found["command"]
        results[size] = found, (out / "scores.csv").read_bytes()
    assert results[1] == results[2]
    assert results[1][0]["samples"] == COUNTS["test"]


@pytest.mark.slow
def test_a_mistake_ends_all_ranks_with_one_line(path, folder, tmp_path):
    model = tiny_model(tmp_path / "fine", bands_in=SHARPENED)
    command = [sys.executable, "-m", "decametre", "landcover", "evaluate", path, "--model", model]
    for status, out, err in finish(start(command, 2)):
        assert (status, out) == (2, "")
        assert "no data_super" in err.splitlines()[-1]
        assert "Traceback" not in err


def test_all_patches_of_a_store_without_splits_are_scored(model, tmp_path):
    path = make_store(tmp_path / "unsplit.h5", {"": 12})
    assert api.evaluate_land_cover(path, model).samples == 12
    with pytest.raises(EvaluationError, match="12 patches, patch0 among them, would be scored"):
        api.evaluate_land_cover(path, model, thresholds="global")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"split": "tests"}, "did you mean test"),
        ({"split": "validation", "thresholds": "global"}, "would be scored with thresholds"),
        ({"thresholds": "globl"}, "did you mean global"),
        ({"keep_thresholds": True}, "only tuned thresholds are kept"),
        ({"model": "nothing"}, "give a model folder"),
    ],
)
def test_mistakes(changes, expected, path, model, tmp_path):
    arguments = {"model": model, "out": tmp_path / "out"} | changes
    with pytest.raises(DecametreError, match=expected):
        api.evaluate_land_cover(path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_other_classes_or_bands_is_refused(path, folder, model, tmp_path):
    swapped = Nomenclature("mine", ("b", "a", "c"))
    tiny = tiny_model(tmp_path / "tiny", nomenclature=Nomenclature("mine", ("a", "b", "c")))
    other = make_store(tmp_path / "other.h5", {"test": 4}, swapped)
    with pytest.raises(EvaluationError, match="class 0 is 'b' in the store and 'a' in the model"):
        api.evaluate_land_cover(other, tiny)
    with pytest.raises(
        EvaluationError, match="class 0 is 'Urban fabric' in the store and 'a' in the model"
    ):
        api.evaluate_land_cover(path, tiny)
    longer = make_store(tmp_path / "longer.h5", {"test": 4}, Nomenclature("m", tuple("abcd")))
    with pytest.raises(
        EvaluationError, match="class 3 is 'd' in the store and 'none' in the model"
    ):
        api.evaluate_land_cover(longer, tiny)
    fine = tiny_model(tmp_path / "fine", bands_in=SHARPENED)
    with pytest.raises(PatchError, match="no data_super"):
        api.evaluate_land_cover(path, fine)


def test_an_evaluation_folder_is_complete_or_absent(path, model, tmp_path):
    out = tmp_path / "out"
    found = api.evaluate_land_cover(path, model, split="validation", out=out)
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.*")) == [
        *(f"figures/{name}" for name in ("confusion.csv", "confusion.png", "per_class.csv")),
        *("figures/per_class.png", "scores.csv", "scores.json", "scores.md"),
    ]
    assert found.command in (out / "scores.md").read_text()
    assert np.isfinite(found.models[0].scores.averages["micro"].f1)
    with pytest.raises(DecametreError, match="not empty"):
        api.evaluate_land_cover(path, model, out=out)
    (tmp_path / "again").mkdir()

    def stop(done, total, patches):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.evaluate_land_cover(path, model, out=tmp_path / "again", progress=stop)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again", "out"]


def test_a_temperature_is_tuned_on_validation_and_kept_on_request(folder, path):
    model = tiny_model(folder / "hot")
    api.evaluate_land_cover(path, model, calibrate=True)
    assert load_land_cover(model).card.temperature == 1.0
    api.evaluate_land_cover(path, model, calibrate=True, keep_thresholds=True)
    kept = load_land_cover(model)
    assert kept.card.temperature == kept.network.temperature > 1.0
