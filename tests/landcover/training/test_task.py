"""Training on patches: every division of a batch gives the same weights, and the network learns."""

import numpy as np
import pytest
import torch
from torch import nn

from decametre import api
from decametre.errors import ModelError, PatchError, TrainingError
from decametre.landcover.models.card import load_land_cover
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.images import chosen_images
from decametre.landcover.patches.nomenclature import Nomenclature
from decametre.landcover.patches.patch import LAYOUTS
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.patches.store_writer import PatchWriter
from decametre.landcover.training.task import LandCover, band_statistics
from decametre.recipes.reading import read_recipe
from decametre.sentinel2.bands import BAND_NAMES
from decametre.training.batch_norm import synchronised_norms
from decametre.training.gradient import Gradient
from decametre.training.loop import initial_state, train_step
from decametre.training.order import micro_batches
from decametre.training.ranks import SINGLE_PROCESS
from decametre.training.running_statistics import RunningStatistics
from tests.landcover.patches.synthetic_patches import HEADER, synthetic_patch
from tests.training.team import together

CLASSES = Nomenclature("made", ("bright", "dark", "striped"))
BATCH, STEPS = 8, 4

TINY = {
    "network.backbone": "test_resnet",
    "optimization.batch": BATCH,
    "optimization.micro_batch": 2,
    "optimization.epochs": 2,
    "data.workers": 0,
    "distribution.balance": "equal",
}


def patch(number):
    """A patch of one or two classes that its pixels show."""
    random = np.random.default_rng(number)
    bright, striped = bool(number % 2), bool(number // 2 % 2)
    labels = ("bright" if bright else "dark", *(("striped",) if striped else ()))
    fresh = synthetic_patch(
        f"patch{number}", labels=(), split=("train", "train", "validation")[number % 3]
    )
    data = {}
    for key, image in fresh.data.items():
        level = 6000 if bright else 1500
        noise = random.integers(0, 400, image.shape)
        stripes = 1000 * (np.arange(image.shape[1]) % 4 < 2)[:, None] if striped else 0
        data[key] = (level + noise + stripes).astype(np.uint16)
    offset = np.full(12, -1000, np.int32)
    return synthetic_patch(fresh.name, labels=labels, split=fresh.split, data=data, offset=offset)


def make_store(path, count=30):
    header = Header(CLASSES, ("data_10m", "data_20m", "data_60m"), attribution="made")
    with PatchWriter(path, header, count) as writer:
        writer.append([patch(number) for number in range(count)])
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("patches") / "patches.h5")


def recipe_of(store, **changes):
    paths = [str(store)]
    return read_recipe("landcover_resnet50", TINY | changes, paths, paths)


def task_of(store, **changes):
    return LandCover(recipe_of(store, **changes), None, torch.device("cpu"), torch.float32)


def weights_after(ranks, shares, store, changes):
    """Train some steps, the last one short; all weights and statistics, flat."""
    task = task_of(store, **changes)
    task.network.double()
    recipe = task.recipe
    state = initial_state(task.network, recipe.optimization)
    gradient = Gradient(task, state.network, ranks)
    unit = recipe.optimization.micro_batch

    def parts(step):
        samples = task.order.samples(step)
        return micro_batches(samples, shares, ranks.rank, unit)

    assert len(task.order.samples(2)) == 4  # 20 patches to train on
    for mine in task.batches(0, STEPS, parts):
        (count,) = ranks.sum([sum(task.count(batch) for batch in mine)])
        train_step(
            state, 10, recipe.optimization, gradient, mine, SINGLE_PROCESS.start_sum([count]).first
        )
    held = [t.double().flatten() for t in state.network.state_dict().values()]
    return torch.cat(held).detach()


def weights_of_cases(ranks, store, cases):
    return [weights_after(ranks, shares, store, changes) for shares, changes in cases]


SYNCHRONISED = {"network.norm": "synchronised", "optimization.micro_batch": None}
CORE = [([6, 2], {}), ([0, 8], {"optimization.clip": 0.1}), ([7, 1], SYNCHRONISED)]
MORE = [
    ([4, 4], {"optimization.clip": 0.1, "optimization.loss": "asymmetric"}),
    ([2, 2, 4], {"optimization.class_weights": "inverse"}),
    ([8, 0], SYNCHRONISED),
    ([5, 2, 1], SYNCHRONISED | {"optimization.optimizer": "lamb", "optimization.momentum": 0.0,
                                "optimization.nesterov": False}),
    ([7, 1], {"network.norm": "group", "optimization.micro_batch": None}),
    ([6, 2], {"network.norm": "frozen"}),
]  # fmt: skip


def weights_by_case(cases, store, tmp_path_factory):
    """For each case the final weights of each rank; starting processes takes seconds."""
    weights = {}
    for size in {len(shares) for shares, _ in cases}:
        of_size = [case for case in cases if len(case[0]) == size]
        folder = tmp_path_factory.mktemp(f"ranks{size}")
        of_ranks = together(weights_of_cases, size, folder, store=store, cases=of_size)
        for case, *ends in zip(of_size, *of_ranks, strict=True):
            weights[str(case)] = ends
    return weights


@pytest.fixture(scope="module")
def core(store, tmp_path_factory):
    return weights_by_case(CORE, store, tmp_path_factory)


@pytest.fixture(scope="module")
def more(store, tmp_path_factory):
    return weights_by_case(MORE, store, tmp_path_factory)


@pytest.mark.parametrize(
    ("case", "weights"),
    [
        *(pytest.param(case, "core", id=str(case)) for case in CORE),
        *(pytest.param(case, "more", id=str(case), marks=pytest.mark.slow) for case in MORE),
    ],
)
def test_any_division_gives_the_weights_and_statistics_of_one_process(
    case, weights, request, store
):
    shares, changes = case
    alone = weights_after(SINGLE_PROCESS, [BATCH], store, changes)
    of_ranks = request.getfixturevalue(weights)[str(case)]
    assert len(of_ranks) == len(shares)
    for of_rank in of_ranks:
        torch.testing.assert_close(of_rank, alone, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_batch_norm_by_each_ranks_share_is_another_network(store, monkeypatch):
    """The test above can fail: this is what it would catch."""
    whole = weights_after(SINGLE_PROCESS, [BATCH], store, {"optimization.micro_batch": 8})
    shared = weights_after(SINGLE_PROCESS, [BATCH], store, {"optimization.micro_batch": 4})
    assert float((whole - shared).abs().max()) > 1e-4
    monkeypatch.setattr(RunningStatistics, "update", lambda *_: None)
    unmerged = weights_after(SINGLE_PROCESS, [BATCH], store, {"optimization.micro_batch": 4})
    assert float((unmerged - shared).abs().max()) > 1e-4


def test_a_skipped_step_does_not_change_the_statistics(store):
    task = task_of(store)
    state = initial_state(task.network, task.recipe.optimization)
    gradient = Gradient(task, state.network, SINGLE_PROCESS)
    (mine,) = task.batches(0, 1, lambda step: [range(2), range(2, 4)])
    before = {name: t.clone() for name, t in state.network.state_dict().items()}
    spoilt = mine[1]
    spoilt.parts = torch.full_like(spoilt.parts, float("nan"))
    assert train_step(state, 10, task.recipe.optimization, gradient, mine, lambda: 12) is None
    for name, tensor in state.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def train(folder, store, settings, **options):
    paths = [str(store)]
    return api.train(
        "landcover_resnet50",
        folder,
        train=paths,
        validation=paths,
        settings=settings,
        precision="float32",
        **options,
    )


def test_it_learns(store, tmp_path):
    """Every pixel shows the classes: F1 is 1 from epoch 6 of 8 on, for each seed tried."""
    settings = TINY | {
        "optimization.epochs": 8,
        "optimization.micro_batch": 8,
        "optimization.optimizer": "adamw",
        "optimization.momentum": 0.0,
        "optimization.nesterov": False,
        "optimization.schedule": {"rule": "cosine", "rate": 3e-3, "warmup": 5},
        "network.norm": "group",
        "network.dropout": 0.0,
        "data.mixup": None,
    }
    result = train(tmp_path / "run", store, settings)
    assert result.card.scores["micro_f1"] > 0.8  # naming all classes everywhere gives 2/3
    assert "micro F1" in result.summary()
    model = load_land_cover(tmp_path / "run")
    assert model.card.classes == CLASSES.classes
    assert model.card.attribution == "made"


def test_a_killed_run_ends_with_the_weights_of_one_left_alone(store, tmp_path):
    settings = TINY | {"optimization.epochs": 3}
    undisturbed = train(tmp_path / "undisturbed", store, settings)

    def kill(done, total, samples):
        assert (total, samples) == (9, 20 * (done // 3) + 8 * (done % 3))
        if done == 5:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", store, settings, progress=kill)
    resumed = train(tmp_path / "killed", store, settings)
    assert resumed.card.checksum == undisturbed.card.checksum
    last = [tmp_path / run / "last.safetensors" for run in ("undisturbed", "killed")]
    assert last[0].read_bytes() == last[1].read_bytes()
    with pytest.raises(TrainingError, match="micro_batch"):
        train(tmp_path / "killed", store, settings | {"optimization.micro_batch": 4})


def test_training_can_start_from_the_weights_of_a_model(store, tmp_path):
    first = train(tmp_path / "first", store, TINY | {"optimization.epochs": 1})
    task = LandCover(recipe_of(store), str(first.folder), torch.device("cpu"), torch.float32)
    kept = load_land_cover(first.folder).network.state_dict()
    assert all(torch.equal(t, kept[n]) for n, t in task.network.state_dict().items())
    with pytest.raises(ModelError, match="bands_in"):
        LandCover(
            recipe_of(store, **{"network.bands": ["B02"]}),
            str(first.folder),
            torch.device("cpu"),
            torch.float32,
        )


def test_bands_of_several_grids_go_by_wavelength_and_come_out_as_standard_numbers(store):
    task = task_of(store, **{"network.bands": ["B8A", "B04", "B01"]})
    assert task.card.bands_in == {10: ("B04",), 20: ("B8A",), 60: ("B01",)}
    seen = []
    task.network.body.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    (mine,) = task.batches(0, 1, lambda step: [range(20)])
    mine[0].parts = None
    mine[0].classes = mine[0].classes[:20]
    for gsd in mine[0].dn:
        mine[0].dn[gsd], mine[0].offset[gsd] = mine[0].dn[gsd][:20], mine[0].offset[gsd][:20]
    mine[0].turns = None
    task.loss(task.network, mine[0])
    (x,) = seen
    assert x.shape == (20, 3, 120, 120)
    assert x.mean((0, 2, 3)).abs().max() < 0.1
    # Bilinear up-sampling smooths the coarse bands' noise.
    assert (x.std((0, 2, 3)) - 1).abs().max() < 0.2


def test_mean_and_deviation_are_of_pixels_with_data(tmp_path):
    patches = [synthetic_patch("a"), synthetic_patch("b")]
    for patch in patches:
        patch.data["data_20m"][:, :45] = 0
    with PatchWriter(tmp_path / "gaps.h5", HEADER, 2) as writer:
        writer.append(patches)
    gaps = PatchStore(tmp_path / "gaps.h5")
    chosen = chosen_images(["B8A"], gaps, sharpened=False)
    mean, deviation = band_statistics(gaps, np.arange(2), chosen)
    channel = LAYOUTS["data_20m"].bands.index("B8A")
    column = BAND_NAMES.index("B8A")
    measured = np.concatenate(
        [
            (image[image > 0].astype(float) + patch.offset[column]) / 10000
            for patch in patches
            for image in [patch.data["data_20m"][channel]]
        ]
    )
    assert mean.item() == pytest.approx(measured.mean(), rel=1e-6)
    assert deviation.item() == pytest.approx(measured.std(), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"network.backbone": "resnet5"}, ModelError, "resnet5"),
        ({"network.upsampling": "super-resolution"}, PatchError, "no data_super"),
        ({"network.config": {"depths": 3}}, ModelError, "depths"),
    ],
)
def test_mistakes(store, changes, error, message):
    with pytest.raises(error, match=message):
        task_of(store, **changes)


def test_incompatible_stores_are_refused(store, tmp_path):
    with pytest.raises(TrainingError, match="names 2 stores"):
        LandCover(
            read_recipe("landcover_resnet50", TINY, [str(store)] * 2, [str(store)]),
            None,
            torch.device("cpu"),
            torch.float32,
        )
    other = tmp_path / "other.h5"
    header = Header(CLASSES, ("data_10m", "data_20m", "data_60m"), attribution="made")
    fresh = patch(2)
    with PatchWriter(other, header, 1) as writer:
        writer.append([synthetic_patch("patch0", labels=("dark",), split="", data=fresh.data)])
    recipe = read_recipe("landcover_resnet50", TINY, [str(store)], [str(other)])
    with pytest.raises(TrainingError, match=r"patch0.*both training and validation"):
        LandCover(recipe, None, torch.device("cpu"), torch.float32)


def test_synchronised_norms_replace_batch_norms(store):
    task = task_of(store, **SYNCHRONISED)
    assert len(synchronised_norms(task.network)) > 3
    assert not any(type(module) is nn.BatchNorm2d for module in task.network.modules())


def validated(ranks, path):
    """What each rank finds of an untrained network."""
    task = task_of(path, **{"data.mixup": None})
    task.network.eval()
    found = task.validate(task.network, ranks)
    return found.score, found.record


@pytest.mark.slow
def test_a_validation_is_the_same_on_any_number_of_ranks(tmp_path):
    path = make_store(tmp_path / "patches.h5", 600)  # 200 of them to validate on: 4 batches
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the ranks have; sums of other parts have other last bits
    alone = validated(SINGLE_PROCESS, path)
    torch.set_num_threads(threads)
    assert 0 < alone[0] < 1
    assert together(validated, 3, tmp_path, path=path) == [alone] * 3
