import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import decametre.api as api
from decametre.errors import BusyError, ModelError, OutputError, TrainingError
from decametre.progress import silent
from decametre.recipes.reading import read_recipe
from decametre.superres.degradation.degraded_scene import DegradedPair
from decametre.superres.models.registry import build, load_folder, load_model, shipped_cards
from decametre.superres.pixels.scenes import load_scenes
from decametre.superres.training.task import (
    RELATIVE_FLOOR,
    SuperResolution,
    build_card,
    load_initial_model,
)
from decametre.training.ranks import SINGLE_PROCESS
from tests.training.team import together

TINY = {
    "network.architecture": "native",
    "network.config": {"width": 16, "blocks": 1},
    "data.patch": 12,
    "optimization.steps": 100,
    "optimization.batch": 4,
    "optimization.schedule": {"rule": "cosine", "rate": 5e-3, "warmup": 5},
    "optimization.average": 0.9,
    "validate_every": 50,
}


def train(sample_item, folder, *, progress=silent, **changes):
    return api.train(
        "native_2x",
        folder,
        train=[sample_item],
        validation=[sample_item],
        settings=TINY | changes,
        precision="float32",
        progress=progress,
    )


def task(sample_item, **changes):
    data = {"data.train": [sample_item], "data.validation": [sample_item]}
    recipe = read_recipe("native_2x", TINY | data | changes)
    return SuperResolution(recipe, None, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def trained(sample_item, tmp_path_factory):
    return train(sample_item, tmp_path_factory.mktemp("runs") / "tiny")


def test_training_writes_a_model_that_sharpens(trained, sample, tmp_path):
    model = load_folder(trained.folder)
    assert model.card == trained.card
    assert model.card.scores["rmse_ratio_to_bicubic"] < 0.97
    assert model.card.training["products"] == [sample.id]
    assert model.card.training["recipe"]["data"]["kernels"] == ["dsen2", "mtf", "drawn", "drawn"]
    assert model.card.attribution == "contains modified Copernicus Sentinel data 2017"
    records = [json.loads(t) for t in (trained.folder / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [50, 100]
    ratios = [record["rmse_ratio_to_bicubic"] for record in records]
    assert model.card.scores["rmse_ratio_to_bicubic"] == min(ratios)
    assert len(records[0]["scenes"]["dsen2"][sample.id]["rmse_dn"]) == 6
    result = api.sharpen(
        sample,
        tmp_path / "out.tif",
        window=(0, 0, 60, 60),
        model=str(trained.folder),
        bands=["B05"],
    )
    assert result.path.is_file()


def test_pictures_and_events_are_next_to_the_model(trained):
    assert {path.name for path in (trained.folder / "pictures").iterdir()} == {
        "step-000050.png",
        "step-000100.png",
    }
    assert list((trained.folder / "tensorboard").glob("events.out.tfevents.*"))


def test_a_resumed_run_ends_with_the_same_bytes(trained, sample_item, tmp_path):
    """Real pixels, a real network: interrupted after 70 of 100 steps, and resumed."""

    def stop(done, total, samples):
        if done == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(sample_item, tmp_path / "run", progress=stop)
    resumed = train(sample_item, tmp_path / "run")
    name = "last.safetensors"
    assert (resumed.folder / name).read_bytes() == (trained.folder / name).read_bytes()
    assert resumed.card.checksum == trained.card.checksum


def test_init_starts_from_a_models_weights(trained, sample_item, tmp_path):
    recipe = read_recipe(
        "native_2x", TINY | {"data.train": [sample_item], "data.validation": [sample_item]}
    )
    started = SuperResolution(recipe, str(trained.folder), torch.device("cpu"), torch.float32)
    weights = load_model(str(trained.folder)).network.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in started.network.state_dict().items())
    with pytest.raises(ModelError, match="its architecture is 'native'"):
        api.train(
            "native_2x",
            tmp_path / "run",
            train=[sample_item],
            validation=[sample_item],
            init=str(trained.folder),
        )
    assert not (tmp_path / "run").exists()


def test_the_card_names_the_initial_model_without_its_path(trained, sample_item, tmp_path):
    again = api.train(
        "native_2x",
        tmp_path / "run",
        train=[sample_item],
        validation=[sample_item],
        settings=TINY | {"optimization.steps": 1},
        init=str(trained.folder),
    )
    assert again.card.training["init"] == {
        "name": "native_2x",
        "checksum": trained.card.checksum,
    }
    text = (again.folder / "card.json").read_text()
    assert str(tmp_path.parent) not in text
    assert str(sample_item) not in text


def test_a_network_with_a_projection_is_loaded(sample_item, tmp_path):
    settings = {"network.projection": "dsen2", "optimization.steps": 1}
    result = train(sample_item, tmp_path / "run", **settings)
    assert result.card.projection == "dsen2"
    assert load_folder(result.folder).card == result.card


def test_a_network_without_weights_is_a_one_line_error(sample_item):
    with pytest.raises(TrainingError, match="bicubic has no weights to train"):
        task(sample_item, **{"network.architecture": "bicubic", "network.config": {}})


def test_init_with_a_family_chooses_the_model_of_the_scale():
    card = shipped_cards()["native_6x"]
    assert load_initial_model("native", card).card == card


def test_a_product_in_training_and_validation_is_logged(sample_item, caplog):
    task(sample_item)
    assert "is in both training and validation" in caplog.text


def test_a_product_without_a_measured_pixel_is_a_one_line_error(sample_item, monkeypatch):
    def nothing(*arguments, **options):
        for product, scene in load_scenes(*arguments, **options):
            none = {gsd: torch.zeros_like(mask) for gsd, mask in scene.valid.items()}
            yield product, replace(scene, valid=none)

    monkeypatch.setattr("decametre.superres.training.degraded_data.load_scenes", nothing)
    with pytest.raises(TrainingError, match=r"data\.train has a measured pixel"):
        task(sample_item)


def test_the_loss_is_a_sum_and_a_count_over_the_mask(sample_item):
    learner = task(sample_item, **{"optimization.loss": "l1"})
    bicubic = build(load_model("bicubic_2x").card)
    inputs = {10: torch.zeros(1, 4, 8, 8), 20: torch.full((1, 6, 4, 4), 0.5)}
    target = torch.full((1, 6, 8, 8), 0.2)
    target[..., 0, 0] = 1e6
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[..., 0, 0] = False
    pair = DegradedPair(inputs, target, mask, mask[:, :1, ::2, ::2])
    assert learner.count(pair) == 6 * 63
    assert float(learner.loss(bicubic, pair)) == pytest.approx(0.3 * 6 * 63, rel=1e-5)


def test_the_relative_loss_weights_patches_by_the_error_of_bicubic(sample_item):
    """Half the contrast, the same loss; a network as good as bicubic has 1 for each pixel."""
    learner = task(sample_item, **{"optimization.loss": "relative"})
    bicubic = build(load_model("bicubic_2x").card)
    inputs = {10: torch.zeros(2, 4, 8, 8), 20: torch.full((2, 6, 4, 4), 0.5)}
    target = torch.full((2, 6, 8, 8), 0.2)
    target[1] = 0.35
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[:, :, 0] = False
    pair = DegradedPair(inputs, target, mask, mask[:, :1, ::2, ::2])
    expected = (0.3 / (0.3 + RELATIVE_FLOOR) + 0.15 / (0.15 + RELATIVE_FLOOR)) * 6 * 56
    assert float(learner.loss(bicubic, pair)) == pytest.approx(expected, rel=1e-5)


def validated(ranks, sample_item):
    """What each rank finds of an untrained network, of four parts of the sample."""
    learner = task(sample_item, **{"data.window": 300})
    assert len(learner.data.held_out) == 8  # under two kernels
    with torch.no_grad():
        for weights in learner.network.parameters():
            weights.add_(0.01)  # not bicubic any more
    found = learner.validate(learner.network.eval(), ranks)
    return found.score, found.record


def test_a_validation_is_the_same_on_any_number_of_ranks(sample_item, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the ranks have; sums of other parts have other last bits
    alone = validated(SINGLE_PROCESS, sample_item)
    torch.set_num_threads(threads)
    assert alone[0] != 1
    assert together(validated, 3, tmp_path, sample_item=sample_item) == [alone] * 3


def test_workers_give_the_same_batches(sample_item):
    def parts(step):
        return [range(4 * step, 4 * step + 3), range(4 * step + 3, 4 * step + 4)]

    alone, helped = (
        [pair.target for pairs in drawn.batches(3, 6, parts) for pair in pairs]
        for drawn in (task(sample_item), task(sample_item, **{"data.workers": 2}))
    )
    assert [len(target) for target in alone] == [3, 1] * 3
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_the_picture_is_three_panels(sample_item):
    learner = task(sample_item)
    picture = learner.validate(learner.network, SINGLE_PROCESS).picture
    assert picture.dtype == np.uint8
    assert picture.shape == (240, 720, 3)
    # A network that has not begun is bicubic interpolation.
    assert np.array_equal(picture[:, 240:480], picture[:, 480:])
    assert not np.array_equal(picture[:, :240], picture[:, 480:])


def test_the_score_is_the_mean_over_the_validation_kernels(sample_item):
    found = {}
    for kernels in (("dsen2",), ("mtf",), ("dsen2", "mtf")):
        learner = task(sample_item, **{"data.validation_kernels": list(kernels)})
        with torch.no_grad():
            for weights in learner.network.parameters():
                weights.fill_(0.01)  # not bicubic any more
        found[kernels] = learner.validate(learner.network, SINGLE_PROCESS)
    dsen2, mtf, both = found.values()
    assert dsen2.score != mtf.score
    assert both.score == pytest.approx((dsen2.score + mtf.score) / 2)
    assert list(both.record["of_kernels"]) == ["dsen2", "mtf"]


def test_products_without_60_m_bands_are_skipped_at_6x(sample_item, tmp_path, caplog):
    path = Path(sample_item)
    item = json.loads(path.read_text()) | {"id": "no60"}
    item["assets"] = {
        name: asset | {"href": str((path.parent / asset["href"]).resolve())}
        for name, asset in item["assets"].items()
        if name not in ("B01", "B09")
    }
    without = tmp_path / "item.json"
    without.write_text(json.dumps(item))
    both = {"data.train": [sample_item, str(without)]}
    assert len(task(sample_item, **both).data.products) == 2
    assert "skipped" not in caplog.text
    at_six = {"network.scale": 6, "data.patch": 4}
    assert len(task(sample_item, **both, **at_six).data.products) == 1
    assert "skipped at scale 6, since bands are missing: no60 (B01, B09)" in caplog.text
    with pytest.raises(TrainingError, match=r"data\.train is large enough .* B01"):
        task(sample_item, **{"data.train": [str(without)]}, **at_six)


def test_a_too_small_product_is_a_one_line_error(sample_item):
    with pytest.raises(TrainingError, match=r"data\.train is large enough"):
        task(sample_item, **{"data.window": 60, "data.windows": 1, "network.scale": 6})


def test_patches_are_multiples_of_attention_windows(sample_item):
    with pytest.raises(TrainingError, match=r"data\.patch 12 is not a multiple"):
        task(
            sample_item,
            **{"network.architecture": "rsa", "network.config": {"width": 16, "window": 8}},
        )


def test_two_runs_in_one_folder_are_an_error(sample_item, tmp_path):
    def second(done, total, samples):
        with pytest.raises(BusyError, match="another run is writing"):
            train(sample_item, tmp_path / "run")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(sample_item, tmp_path / "run", progress=second)


def test_a_run_is_resumed_in_its_precision(sample_item, tmp_path, monkeypatch):
    """`auto` depends on the machine, and another precision is another result."""

    def go_on(**options):
        return api.train(
            "native_2x",
            tmp_path / "run",
            train=[sample_item],
            validation=[sample_item],
            settings=TINY | {"optimization.steps": 1},
            **options,
        )

    go_on(precision="float32")
    monkeypatch.setattr("decametre.device.bfloat16_flags", lambda: ["amx_bf16"])
    assert go_on().card.training["precision"] == "float32"
    with pytest.raises(TrainingError, match="precision was 'float32'"):
        go_on(precision="bfloat16")
    with pytest.raises(TrainingError, match=r"seed was 0 and is now 1"):
        train(sample_item, tmp_path / "run", **{"optimization.steps": 1, "seed": 1})


def test_a_model_of_no_run_is_not_overwritten(trained, sample_item, tmp_path):
    for name in ("card.json", "weights.safetensors"):
        shutil.copy(trained.folder / name, tmp_path)
    with pytest.raises(TrainingError, match="holds a model, but no run to resume"):
        train(sample_item, tmp_path)
    assert load_folder(tmp_path).card == trained.card


def test_a_folder_that_cannot_be_created_is_reported_at_once(sample_item, tmp_path):
    (tmp_path / "file").touch()
    for folder, message in (("absent/run", "does not exist; make it"), ("file", "is a file")):
        with pytest.raises(OutputError, match=message):
            train(sample_item, tmp_path / folder)


def test_the_card_before_training_describes_the_network():
    config = {"width": 8, "blocks": 6}
    card = build_card(
        read_recipe("s2x", {"network.architecture": "native", "network.config": config})
    )
    assert (card.margin, card.alignment, card.scale) == (14, 1, 2)
