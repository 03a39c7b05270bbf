import pytest
import torch

import decametre
from decametre.sentinel2.bands import bands_at
from decametre.superres.models.card import Card
from decametre.superres.models.registry import BANDS_FOR_SCALE, build, models_for, save_model
from decametre.superres.sharpening.adaptation import adapt_models
from tests.superres.models.receptive import randomize

TYPICAL = [0.28, 0.28, 0.28, 0.28, 0.11, 0.12]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    config = {"width": 8, "blocks": 1, "hidden": 4, "typical_gains": TYPICAL}
    card = Card("mine", "adaptive", config, BANDS_FOR_SCALE[2], margin=4)
    torch.manual_seed(0)
    network = build(card)
    randomize(network)
    folder = tmp_path_factory.mktemp("models") / "mine"
    save_model(folder, card, network)
    return str(folder)


def test_models_adapt_to_the_measured_blur(sample, folder):
    (model,) = models_for(bands_at(20), [folder])
    (adapted,), gains = adapt_models([model], sample)
    assert adapted.card is model.card
    assert list(gains) == ["mine"]
    assert list(gains["mine"]) == list(bands_at(20))
    measured = {found.band: found.gain for found in decametre.measure_mtf(sample)}
    for name in ("B05", "B06", "B07", "B8A"):
        assert gains["mine"][name] == pytest.approx(measured[name], abs=0.03)
    (bicubic,) = models_for(["B05"], ["bicubic"])
    assert adapt_models([bicubic], sample) == ([bicubic], {})


def test_a_part_equals_that_part_of_the_complete_result(sample_item, folder, tmp_path):
    """The blur is that of the product, whatever part of it is sharpened."""
    gains = []
    for name, window in (("part", (120, 180, 240, 120)), ("all", None)):
        result = decametre.sharpen(
            sample_item,
            tmp_path / f"{name}.tif",
            model=[folder],
            bands=["B05"],
            window=window,
            precision="float32",
            self_check=False,
        )
        gains.append(result.quality["models"]["mine"]["adapted_to_nyquist_gains"])
    assert gains[0] == gains[1]
    assert set(gains[0]) == set(bands_at(20))
