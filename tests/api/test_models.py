import pytest
import torch

import decametre
from decametre.errors import OutputError, UnknownNameError


def test_three_lines_sharpen_tensors():
    card, network = decametre.load_model("native_2x")
    images = {
        gsd: torch.full((1, len(names), 240 // gsd, 240 // gsd), 0.2)
        for gsd, names in card.bands_in.items()
    }
    sharp = network(images)
    assert sharp.shape == (1, len(card.bands_out), 24, 24)
    torch.testing.assert_close(sharp, torch.full_like(sharp, 0.2), rtol=0, atol=0.02)


def test_an_unknown_name_is_corrected():
    with pytest.raises(UnknownNameError, match="did you mean native_2x"):
        decametre.load_model("nativ_2x")


def test_an_existing_export_is_refused_at_once(tmp_path):
    (tmp_path / "native_2x.onnx").touch()
    with pytest.raises(OutputError, match="exists already"):
        decametre.export_model("native_2x", tmp_path)
