import dataclasses
import json

import pytest
import torch

from decametre.errors import ModelError, UnknownNameError
from decametre.sentinel2.bands import BAND_NAMES, bands_at
from decametre.superres.models.card import Card
from decametre.superres.models.registry import (
    BANDS_FOR_SCALE,
    USES,
    build,
    families,
    families_of,
    load_folder,
    load_model,
    models_for,
    operations,
    save_model,
    shipped_cards,
)


@pytest.fixture
def folder(tmp_path):
    """A small model, as training leaves it."""
    card = Card("mine_2x", "native", {"width": 8, "blocks": 1}, BANDS_FOR_SCALE[2], margin=4)
    save_model(tmp_path / "mine", card, build(card))
    return tmp_path / "mine"


def test_the_shipped_models_load_and_fit_their_cards():
    for name, card in shipped_cards().items():
        model = load_model(name)
        assert model.card == card
        assert model.network.margin == card.margin
        assert model.network.alignment == card.alignment
        assert not model.network.training


def test_the_default_family_sharpens_every_coarse_band():
    models = models_for(BAND_NAMES)
    assert [m.card.name for m in models] == ["native_2x", "native_6x"]
    made = [band for model in models for band in model.card.bands_out]
    assert sorted(made) == sorted([*bands_at(20), *bands_at(60)])


def test_only_needed_models_are_chosen():
    assert models_for(["B02", "B08"]) == []
    assert [m.card.name for m in models_for(["B02", "B11"])] == ["native_2x"]


def test_a_named_model_precedes_the_default(folder):
    assert [m.card.name for m in models_for(BAND_NAMES, ["bicubic"])] == [
        "bicubic_2x",
        "bicubic_6x",
    ]
    assert [m.card.name for m in models_for(BAND_NAMES, ["bicubic_6x"])] == [
        "native_2x",
        "bicubic_6x",
    ]
    assert [m.card.name for m in models_for(BAND_NAMES, [str(folder)])] == ["mine_2x", "native_6x"]
    assert [m.card.name for m in models_for(["B05"], ["bicubic", str(folder)])] == ["mine_2x"]


def test_families():
    assert families()["native"] == ["native_2x", "native_6x"]
    names = ["s2x", "s6x", "mine-2x", "2x", "other"]
    cards = {n: Card(n, "rsa", {}, BANDS_FOR_SCALE[6 if "6" in n else 2], margin=0) for n in names}
    assert families_of(cards) == {
        "s": ["s2x", "s6x"],
        "mine": ["mine-2x"],
        "2x": ["2x"],
        "other": ["other"],
    }


def test_an_unknown_model_is_an_error():
    with pytest.raises(UnknownNameError, match="unknown model 'nativ'; did you mean native"):
        models_for(["B05"], ["nativ"])


def test_a_saved_model_is_loaded_unchanged(folder):
    model = load_folder(folder)
    card = Card("mine_2x", "native", {"width": 8, "blocks": 1}, BANDS_FOR_SCALE[2], margin=4)
    torch.manual_seed(3)
    network = build(card)
    saved = save_model(folder, card, network)
    assert saved.parameters == sum(p.numel() for p in network.parameters())
    again = load_folder(folder).network.state_dict()
    assert all(torch.equal(again[k], v) for k, v in network.state_dict().items())
    assert model.card.parameters == saved.parameters


def test_a_path_is_not_a_shipped_model_of_its_name(folder, monkeypatch):
    folder.rename(folder.parent / "native_2x")
    monkeypatch.chdir(folder.parent)
    for name in ("./native_2x", f"{folder.parent}/native_2x"):
        assert load_model(name).card.name == "mine_2x"
        assert models_for(["B05"], [name])[0].card.name == "mine_2x"
    assert load_model("native_2x").card.name == "native_2x"


def test_a_model_that_cannot_be_written_keeps_the_earlier_one(folder, monkeypatch):
    before = load_folder(folder).card
    network = build(before)
    monkeypatch.setattr(Card, "to_stac", lambda card: {"no JSON": {1, 2}})
    with pytest.raises(TypeError):
        save_model(folder, before, network)
    monkeypatch.undo()

    def full(path, content):
        path.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save_model(folder, before, network)
    monkeypatch.undo()
    assert load_folder(folder).card == before
    assert {path.name for path in folder.iterdir()} == {"card.json", "weights.safetensors"}


def test_weights_have_the_permissions_of_the_card(folder):
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_a_number_that_yaml_reads_as_text():
    """`3e-3` without a dot is text in YAML 1.1."""
    regressions = [{"radius": 1, "ridge": "3e-3", "gain": "3e-1"}]
    images = {10: torch.ones(1, 4, 12, 12), 20: torch.ones(1, 6, 6, 6), 60: torch.ones(1, 2, 2, 2)}
    for architecture, config, scale in (
        ("guided", {"regressions": regressions}, 6),
        ("native", {"gain": "5e0"}, 2),
    ):
        config |= {"width": 8, "blocks": 1}
        bands_in = BANDS_FOR_SCALE[scale]
        network = build(Card("mine", architecture, config, bands_in, margin=0))
        network({gsd: images[gsd] for gsd in bands_in})


@pytest.mark.parametrize(
    ("network", "config"),
    [
        ("native", {"width": 0, "blocks": 1}),
        ("native", {"width": -8, "blocks": 1}),
        ("native", {"width": 8, "blocks": 1, "block": 0}),
        ("native", {"width": 8, "blocks": 1, "regressions": [[1, -0.1]]}),
        ("native", {"width": 8, "blocks": 1, "gain": "much"}),
        ("dsen2", {"width": 0}),
        ("rsa", {"width": -8}),
    ],
)
def test_invalid_sizes_are_errors(network, config):
    with pytest.raises(ModelError, match="is invalid for architecture"):
        build(Card("mine", network, config, BANDS_FOR_SCALE[2], margin=0))


def test_margin_and_alignment_are_those_of_the_network(tmp_path):
    config = {"width": 8, "blocks": 2, "key_width": 2, "window": 4}
    card = Card("s2x", "rsa", config, BANDS_FOR_SCALE[2], margin=0)
    saved = save_model(tmp_path / "s2x", card, build(card))
    assert (saved.margin, saved.alignment) == (8, 4)
    assert load_folder(tmp_path / "s2x").card == saved
    edit(tmp_path / "s2x", decametre__alignment=8)
    assert load_folder(tmp_path / "s2x").card.alignment == 8
    edit(tmp_path / "s2x", decametre__alignment=6)
    with pytest.raises(
        ModelError, match="alignment 6 is not a multiple of the network's attention"
    ):
        load_folder(tmp_path / "s2x")


def edit(folder, **changes):
    item = json.loads((folder / "card.json").read_text())
    for key, value in changes.items():
        item["properties"][key.replace("__", ":")] = value
    (folder / "card.json").write_text(json.dumps(item))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decametre__config": {"width": 16, "blocks": 1}}, "the card does not fit the weights"),
        ({"decametre__config": {"depth": 16}}, "is invalid for architecture native"),
        (
            {"mlm__architecture": "rsa", "decametre__config": {"means": [0.1]}},
            "is invalid for architecture rsa .there are 1 means for 10 bands",
        ),
        ({"decametre__margin": 3}, "margin 3 is less than the network's receptive field 4"),
        ({"mlm__architecture": "resnet"}, "unknown architecture 'resnet'"),
    ],
)
def test_a_card_that_does_not_match_is_a_one_line_error(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(ModelError, match=words) as error:
        load_folder(folder)
    assert "\n" not in str(error.value)


def test_damaged_and_missing_weights(folder):
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_folder(folder)
    weights.unlink()
    with pytest.raises(ModelError, match="is missing"):
        load_folder(folder)


def test_every_shipped_family_has_a_use():
    assert set(families()) <= set(USES)


def test_operations_of_a_convolution():
    """At 20 m, so a quarter for each 10 m pixel; two operations a weight. Bicubic has none."""
    assert operations(load_model("bicubic_2x")) == 0
    model = load_model("native_2x")
    kernels = sum(weights.numel() for weights in model.network.parameters() if weights.ndim == 4)
    # Without the layers that process the gains: they run once for a product.
    assert operations(model) == 2 * kernels / 4


def test_ratios_of_kernels_of_an_older_card():
    """A network that was scored with one kernel."""
    scores = {"protocol": "Wald, kernel mtf, scale 2, masked", "rmse_ratio_to_bicubic": 0.3}
    card = dataclasses.replace(shipped_cards()["native_2x"], scores=scores)
    assert card.ratios_of_kernels == {"mtf": 0.3}
