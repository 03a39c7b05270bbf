import dataclasses
import json

import pytest
import torch

from decametre.errors import ModelError
from decametre.superres.degradation.back_projection import residual_of
from decametre.superres.models.bicubic import Bicubic
from decametre.superres.models.card import Card
from decametre.superres.models.projected import Projected
from decametre.superres.models.registry import BANDS_FOR_SCALE, build, load_folder, save_model
from tests.superres.models.receptive import images, randomize, reach_of

COUNTS = {2: {10: 4, 20: 6}, 6: {10: 4, 20: 6, 60: 2}}
SCALES = pytest.mark.parametrize("scale", [2, 6])
BOTH_KERNELS = pytest.mark.parametrize("kernel", ["dsen2", "mtf"])


def bands(scale):
    return BANDS_FOR_SCALE[scale][10 * scale]


def card(scale, kernel, network="native", config=None):
    config = {"width": 8, "blocks": 1} if config is None else config
    return Card("mine", network, config, BANDS_FOR_SCALE[scale], margin=0, projection=kernel)


@SCALES
@pytest.mark.parametrize(("kernel", "left"), [("dsen2", 1e-3), ("mtf", 0.05)])
def test_the_result_reproduces_the_input(scale, kernel, left):
    torch.manual_seed(0)
    plain = Bicubic(COUNTS[scale])
    network = Projected(plain, kernel, bands(scale), scale)
    inputs = images(48, COUNTS[scale])
    coarse, edge = inputs[10 * scale], network.margin + 2
    rms = []
    for net in (plain, network):
        residual = residual_of(net(inputs), coarse, network.taps, scale)
        rms.append(residual[..., edge:-edge, edge:-edge].square().mean().sqrt())
    assert float(rms[0]) > 0.02
    assert float(rms[1]) < left * float(rms[0])


@SCALES
@BOTH_KERNELS
def test_gradients_flow_to_the_network_within(scale, kernel):
    torch.manual_seed(0)
    network = build(card(scale, kernel))
    found = network(images(12, COUNTS[scale], batch=2))
    found.square().sum().backward()
    tail = network.network.tail.weight.grad
    assert torch.isfinite(tail).all()
    assert float(tail.abs().sum()) > 0


@SCALES
@BOTH_KERNELS
def test_the_margin_is_the_receptive_field(scale, kernel):
    torch.manual_seed(0)
    network = build(card(scale, kernel)).double()
    randomize(network)
    size = 2 * network.margin + 5
    found = reach_of(network, COUNTS[scale], size, size // 2, torch.float64)
    assert network.margin - 1 <= found <= network.margin
    assert network.margin == 4 + {"dsen2": 6, "mtf": 8}[kernel]


def test_alignment_passes_through():
    config = {"width": 8, "blocks": 2, "key_width": 2, "window": 4}
    assert build(card(2, "mtf", "rsa", config)).alignment == 4


@SCALES
def test_its_arithmetic_stays_float32_in_autocast(scale):
    """The projection of a network without convolutions comes out the same bit for bit."""
    network = Projected(Bicubic(COUNTS[scale]), "mtf", bands(scale), scale)
    inputs = images(24, COUNTS[scale])
    expected = network(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(inputs)
    assert torch.equal(found, expected)


@SCALES
def test_a_saved_model_keeps_its_projection(tmp_path, scale):
    torch.manual_seed(0)
    network = build(card(scale, "mtf")).eval()
    randomize(network, std=0.05)
    saved = save_model(tmp_path, card(scale, "mtf"), network)
    assert saved.projection == "mtf"
    assert saved.margin == network.margin
    model = load_folder(tmp_path)
    inputs = images(24, COUNTS[scale])
    with torch.no_grad():
        assert torch.equal(model.network(inputs), network(inputs))
        assert not torch.allclose(model.network.network(inputs), network(inputs), atol=1e-3)
    # Weights and nothing else: taps follow from the card.
    assert saved.parameters == sum(p.numel() for p in network.parameters())


def test_cards_without_the_field_still_load(tmp_path):
    plain = dataclasses.replace(card(2, None), margin=4)
    save_model(tmp_path, plain, build(plain))
    item = json.loads((tmp_path / "card.json").read_text())
    del item["properties"]["decametre:projection"]
    (tmp_path / "card.json").write_text(json.dumps(item))
    model = load_folder(tmp_path)
    assert model.card.projection is None
    assert type(model.network).__name__ == "NativeTrunk"
    item["properties"]["decametre:projection"] = "mft"
    (tmp_path / "card.json").write_text(json.dumps(item))
    with pytest.raises(ModelError, match="projection 'mft' is no degradation kernel; known: dsen2"):
        Card.read(tmp_path)
