import dataclasses

import pytest
import torch

from decametre.errors import ModelError
from decametre.model_folder import save_model
from decametre.superres.models.card import Card
from decametre.superres.models.registry import BANDS_FOR_SCALE
from decametre.superres.models.uncertainty import (
    LARGEST_SCALE,
    LEVELS,
    UncertaintyCard,
    UncertaintyTrunk,
    build_uncertainty,
    load_uncertainty,
)

BANDS = BANDS_FOR_SCALE[6]
OF = Card("tiny_6x", "native", {}, BANDS, margin=1, checksum="ab" * 32)
FACTORS = {"deviation": 2.0} | {str(level): level / 50 for level in LEVELS}
CARD = UncertaintyCard(
    "uncertainty_6x",
    "UncertaintyTrunk",
    {"width": 8, "blocks": 1},
    BANDS,
    of="tiny_6x",
    of_checksum=OF.checksum,
    factors={"B01": FACTORS, "B09": FACTORS | {"deviation": 3.0}},
)


def trunk(scale, blocks=1):
    torch.manual_seed(0)
    bands_in = {gsd: len(names) for gsd, names in BANDS_FOR_SCALE[scale].items()}
    network = UncertaintyTrunk(bands_in, 8, blocks).eval()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    return network


def images(scale, rows, cols):
    torch.manual_seed(1)
    coarsest = 10 * scale
    inputs = {
        gsd: torch.rand(1, len(names), rows * coarsest // gsd, cols * coarsest // gsd)
        for gsd, names in BANDS_FOR_SCALE[scale].items()
    }
    fine = torch.rand(1, len(BANDS_FOR_SCALE[scale][coarsest]), rows * scale, cols * scale)
    return inputs, fine


@pytest.mark.parametrize("scale", [2, 6])
@torch.inference_mode()
def test_a_pixel_depends_on_inputs_within_the_margin_only(scale):
    network, (inputs, fine) = trunk(scale), images(scale, 20, 20)
    before = network(inputs, fine)
    assert before.shape == fine.shape
    assert (before > 0).all()
    margin = network.margin
    changed = {gsd: image.clone() for gsd, image in inputs.items()}
    for gsd, image in changed.items():
        image[..., : (10 - margin) * 10 * scale // gsd] += 1
    changed_fine = fine.clone()
    changed_fine[..., : (10 - margin) * scale] += 1
    after = network(changed, changed_fine)
    torch.testing.assert_close(after[..., 10 * scale :], before[..., 10 * scale :])
    near = (slice(None),) * 3 + (slice((10 - margin) * scale, 10 * scale),)
    assert not torch.allclose(after[near], before[near])


@torch.inference_mode()
def test_no_scale_exceeds_plausible_errors():
    network, (inputs, fine) = trunk(2), images(2, 8, 8)
    found = network({gsd: 1000 * image for gsd, image in inputs.items()}, 1000 * fine)
    assert float(found.max()) == pytest.approx(LARGEST_SCALE)


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="width 0 must be positive"):
        UncertaintyTrunk({10: 4, 20: 6}, 0, 1)
    with pytest.raises(ModelError, match=r"configuration \{'depth': 3\} is invalid"):
        build_uncertainty(dataclasses.replace(CARD, config={"depth": 3}))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_model(tmp_path / "tiny" / "uncertainty", CARD, build_uncertainty(CARD))
    return tmp_path / "tiny"


def test_deviations_have_each_bands_factor(folder, tmp_path):
    found = load_uncertainty(OF, [tmp_path / "none", folder])
    assert found.card.factors == CARD.factors
    inputs, fine = images(6, 4, 4)
    scale, deviation = found.network(inputs, fine), found.deviation(inputs, fine)
    torch.testing.assert_close(deviation[:, 0], 2 * scale[:, 0])
    torch.testing.assert_close(deviation[:, 1], 3 * scale[:, 1])


def test_the_network_of_other_weights_is_not_used(folder):
    other = dataclasses.replace(OF, checksum="cd" * 32)
    with pytest.raises(ModelError, match=r"tiny_6x has no network .* recipe uncertainty_6x"):
        load_uncertainty(other, [folder])


def test_damaged_weights_are_refused(folder):
    weights = folder / "uncertainty" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_uncertainty(OF, [folder])
