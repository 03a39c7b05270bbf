import dataclasses

import pytest
import torch

from decametre.errors import ModelError, UnknownNameError
from decametre.superres.evaluation.compared_models import Method, methods_for
from decametre.superres.models.registry import BANDS_FOR_SCALE, load_model, save_model

CPU = torch.device("cpu")


def labels(names, scale):
    return [method.label for method in methods_for(names, scale, CPU)]


def test_bicubic_is_first_and_not_repeated():
    assert labels((), 2) == ["bicubic", "native_2x"]
    assert labels(["native", "bicubic", "bicubic_6x", "native_6x"], 6) == ["bicubic", "native_6x"]


@pytest.mark.parametrize(("name", "scale"), [("native_6x", 2), ("bicubic_2x", 6)])
def test_a_model_of_the_other_scale_is_an_error(name, scale):
    with pytest.raises(ModelError, match=f"--scale {scale} scores.*give --scale {8 - scale}"):
        methods_for([name], scale, CPU)


def test_unknown_model():
    with pytest.raises(UnknownNameError, match="did you mean native"):
        methods_for(["nativ"], 2, CPU)


def test_two_folders_of_one_name_are_two_methods(tmp_path):
    model = load_model("native_2x")
    for run in ("a", "b"):
        save_model(tmp_path / run, model.card, model.network)
    folders = [str(tmp_path / run) for run in ("a", "b")]
    assert labels(folders, 2) == ["bicubic", *folders]
    with pytest.raises(ModelError, match="20 m bands"):
        methods_for(folders, 6, CPU)


def test_bands_are_chosen_by_name():
    bands_in = BANDS_FOR_SCALE[2]
    model = load_model("bicubic_2x")
    other = {10: ("B08",), 20: ("B12", "B05")}
    card = dataclasses.replace(model.card, bands_in=other)
    method = Method("other", model._replace(card=card))
    inputs = {
        gsd: torch.arange(len(names), dtype=torch.float32)[None, :, None, None].expand(
            1, -1, 120 // gsd, 120 // gsd
        )
        for gsd, names in bands_in.items()
    }
    found = method.predict(inputs, bands_in)
    expected = [bands_in[20].index("B12"), bands_in[20].index("B05")]
    torch.testing.assert_close(found.mean(dim=(1, 2)), torch.tensor(expected, dtype=torch.float32))
