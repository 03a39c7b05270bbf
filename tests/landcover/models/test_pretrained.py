"""Backbones that start from files in the layouts of torchvision, timm and torchgeo."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from decametre.errors import ModelError
from decametre.landcover.models.network import LandCoverNetwork
from decametre.landcover.models.pretrained import BANDS_BY_CHANNELS, load_pretrained
from decametre.sentinel2.bands import BAND_NAMES, bands_at

ALL = {gsd: bands_at(gsd) for gsd in (10, 20, 60)}
PADDED = {"img_size": 120, "dynamic_img_size": True, "dynamic_img_pad": True}
"""120 pixels are no multiple of a vision transformer's 16."""

RGB = {10: ("B02", "B03", "B04")}


def backbone(channels, name="test_resnet", **config):
    torch.manual_seed(3)
    network = timm.create_model(name, num_classes=7, in_chans=channels, **config)
    for weights in network.state_dict().values():
        if weights.is_floating_point():
            torch.nn.init.normal_(weights)
    return network.state_dict()


def first(network):
    return network.body.state_dict()["conv1.0.weight"]


def test_rgb_weights_are_adapted_to_twelve_bands(tmp_path):
    weights = backbone(3)
    save_file(weights, tmp_path / "imagenet.safetensors")
    network = LandCoverNetwork("test_resnet", ALL, 19)
    before = network.head.weight.clone()
    loaded = load_pretrained(network, str(tmp_path / "imagenet.safetensors"))
    assert torch.equal(network.head.weight, before)
    red, green, blue = weights["conv1.0.weight"].unbind(1)
    places = {name: BAND_NAMES.index(name) for name in BAND_NAMES}
    found = first(network)
    torch.testing.assert_close(found[:, places["B04"]], red / 4)
    torch.testing.assert_close(found[:, places["B02"]], blue / 4)
    torch.testing.assert_close(found[:, places["B11"]], (red + green + blue) / 12)
    assert loaded.text.startswith("imagenet.safetensors: ")
    assert "first convolution adapted from 3 to 12 bands (mean of all for B01, " in loaded.text
    assert "unused: fc.bias, fc.weight" in loaded.text
    assert len(loaded.text.splitlines()) == 1
    key = next(key for key in network.body.state_dict() if key.startswith("layer1"))
    assert torch.equal(network.body.state_dict()[key], weights[key])


@pytest.mark.parametrize(
    ("nest", "prefix"),
    [
        (None, ""),
        ("state_dict", "module.encoder_q."),  # MoCo, as SSL4EO-S12 publishes it
        ("teacher", "backbone."),  # DINO
        ("model", "backbone.resnet."),  # Satlas
    ],
)
def test_thirteen_bands_of_ssl4eo_without_cirrus(tmp_path, nest, prefix):
    weights = {prefix + key: value for key, value in backbone(13).items()}
    torch.save({nest: weights, "epoch": 3} if nest else weights, tmp_path / "b13.pth")
    network = LandCoverNetwork("test_resnet", ALL, 19)
    load_pretrained(network, str(tmp_path / "b13.pth"))
    order = [BANDS_BY_CHANNELS[13].index(name) for name in BAND_NAMES]
    expected = weights[f"{prefix}conv1.0.weight"][:, order] * 13 / 12
    torch.testing.assert_close(first(network), expected)


def test_equal_bands_are_loaded_unchanged(tmp_path):
    torch.save(backbone(3), tmp_path / "rgb.pth")
    network = LandCoverNetwork("test_resnet", RGB, 19)
    loaded = load_pretrained(network, str(tmp_path / "rgb.pth"))
    order = [BANDS_BY_CHANNELS[3].index(name) for name in ("B02", "B03", "B04")]
    torch.testing.assert_close(first(network), backbone(3)["conv1.0.weight"][:, order])
    assert "mean of all" not in loaded.text


def test_a_vision_transformer_of_another_image_size(tmp_path):
    torch.save(backbone(3, "test_vit"), tmp_path / "vit.pth")
    network = LandCoverNetwork("test_vit", ALL, 19, PADDED)
    loaded = load_pretrained(network, str(tmp_path / "vit.pth"))
    assert "position embedding resampled to" in loaded.text
    images = {gsd: torch.rand(2, len(n), 1200 // gsd, 1200 // gsd) for gsd, n in ALL.items()}
    assert network(images).shape == (2, 19)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(backbone(3, "test_vit"), tmp_path / "vit.pth")
    network = LandCoverNetwork("test_resnet", ALL, 19)
    with pytest.raises(ModelError, match=r"only 0 of the \d+ tensors .* another network"):
        load_pretrained(network, str(tmp_path / "vit.pth"))


class Surprise:
    """Not a tensor."""


def test_files_that_could_run_code_are_not_read(tmp_path):
    torch.save({"state_dict": Surprise()}, tmp_path / "odd.pth")
    network = LandCoverNetwork("test_resnet", RGB, 19)
    with pytest.raises(ModelError, match="holds more than tensors"):
        load_pretrained(network, str(tmp_path / "odd.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="holds no state_dict"):
        load_pretrained(network, str(tmp_path / "list.pth"))
    with pytest.raises(ModelError, match="no such file, and timm cannot load it"):
        load_pretrained(network, "no_such_network")
