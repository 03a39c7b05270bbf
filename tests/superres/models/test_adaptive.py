import pytest
import torch

from decametre.errors import ModelError
from decametre.superres.degradation.degraded_scene import degrade_scene
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.card import Card
from decametre.superres.models.prediction import predict
from decametre.superres.models.registry import BANDS_FOR_SCALE, build
from decametre.superres.pixels.scenes import load_scene
from tests.superres.models.receptive import images, randomize

COUNTS = {10: 4, 20: 6}
TYPICAL = [0.28, 0.28, 0.28, 0.28, 0.11, 0.12]
CONFIG = {"width": 8, "blocks": 2, "hidden": 4, "typical_gains": TYPICAL}


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = AdaptiveTrunk(COUNTS, **CONFIG)
    randomize(network)
    return network.eval()


@pytest.fixture(scope="module")
def native(sample):
    return load_scene(sample, [name for names in BANDS_FOR_SCALE[2].values() for name in names])


def degraded(native, kernel):
    return degrade_scene(native, kernel, BANDS_FOR_SCALE[2]).full_pair().inputs


def test_it_starts_as_bicubic_interpolation():
    inputs = images(8, COUNTS)
    found = AdaptiveTrunk(COUNTS, **CONFIG)(inputs, None, torch.tensor([TYPICAL]))
    torch.testing.assert_close(found, bicubic(inputs[20], 2))


def test_the_adapted_network_equals_the_adaptive_one(network):
    inputs = images(12, COUNTS)
    gains = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], TYPICAL])
    both = {gsd: torch.cat([image, image]) for gsd, image in inputs.items()}
    with torch.inference_mode():
        found = network(both, None, gains)
        for image, of_image in zip(found, gains, strict=True):
            adapted = network.adapted(of_image)(inputs)[0]
            torch.testing.assert_close(adapted, image, rtol=0, atol=1e-5 * float(image.abs().max()))
        assert float((found[0] - found[1]).abs().max()) > 0.01


def test_a_sharper_kernel_has_larger_gains(network, native):
    blurred, sharp = (network.measure(degraded(native, kernel)) for kernel in ("mtf", "dsen2"))
    assert (sharp > blurred).all()
    # Kernel dsen2 takes no account of the wavelength, and the short-wave infrared is more blurred.
    assert float((sharp - blurred)[4:].min()) > float((sharp - blurred)[:4].max())


def test_images_without_detail_have_typical_gains(network):
    typical = torch.tensor(TYPICAL)
    flat = {gsd: torch.full_like(image, 0.02) for gsd, image in images(200, COUNTS).items()}
    torch.testing.assert_close(network.measure(flat), typical, rtol=0, atol=0.02)
    torch.testing.assert_close(network.measure(images(8, COUNTS)), typical, rtol=0, atol=0.02)


def test_an_image_is_sharpened_with_its_own_gains(network, native):
    inputs = degraded(native, "mtf")
    with torch.inference_mode():
        expected = network.adapted(network.measure(inputs))
        for tile in (1380, 120):
            found = predict(network, inputs, network.margin, tile=tile)
            torch.testing.assert_close(found, predict(expected, inputs, network.margin))


@pytest.mark.parametrize("change", [{"hidden": 0}, {"typical_gains": [0.3]}, {"width": 0}], ids=str)
def test_invalid_sizes_are_refused(change):
    card = Card("mine", "adaptive", CONFIG | change, BANDS_FOR_SCALE[2], margin=6)
    with pytest.raises(ModelError, match="model mine: configuration"):
        build(card)


def test_it_has_no_projection():
    card = Card("mine", "adaptive", CONFIG, BANDS_FOR_SCALE[2], margin=6, projection="mtf")
    with pytest.raises(ModelError, match="model mine: architecture adaptive has no projection"):
        build(card)
