import json

import numpy as np
import pytest
import torch

from decametre.errors import ModelError, OutputError
from decametre.superres.export import onnx_file
from decametre.superres.export.forms import form_of
from decametre.superres.export.onnx_file import check_output, exported_files, write_files
from decametre.superres.models.registry import load_model
from tests.superres.export.tiny_models import tiny_model
from tests.support.stac_schemas import errors_of


@pytest.fixture
def without_torch_export(monkeypatch):
    """An export takes seconds; its card and its files do not need one."""
    monkeypatch.setattr(onnx_file, "_onnx", lambda form, precision: b"network")
    monkeypatch.setattr(onnx_file, "_difference", lambda content, form: 2.34e-6)


@pytest.mark.parametrize(
    ("form", "kind", "scale"),
    [
        ("grids", "guided", 6),
        ("grids", "adaptive", 2),
        ("evoland", "adaptive", 2),
        ("deepness", "native", 6),
        ("evoland", "native", 2),
    ],
)
def test_the_card_is_valid_stac_mlm(without_torch_export, form, kind, scale):
    files = exported_files(form_of(tiny_model(kind, scale), form), "float32")
    item = json.loads(files[f"{kind}_{scale}x.json"])
    assert errors_of(item) == []
    assert item["properties"]["mlm:framework"] == "ONNX"
    assert item["assets"]["model"]["href"] == f"./{kind}_{scale}x.onnx"
    assert item["properties"]["decametre:export"]["largest_difference_from_torch"] == 2.3e-6


def test_a_file_that_differs_from_torch_is_not_kept(without_torch_export, monkeypatch):
    monkeypatch.setattr(onnx_file, "_difference", lambda content, form: 2e-4)
    with pytest.raises(ModelError, match=r"differ from torch by 0.0002 .*, more than 0.0001"):
        exported_files(form_of(tiny_model("native"), "grids"), "float32")


def test_nothing_is_overwritten_without_a_word(tmp_path):
    check_output(tmp_path / "new", "native_2x", overwrite=False)
    write_files(tmp_path / "new", {"native_2x.onnx": b"x"})
    with pytest.raises(OutputError, match=r"native_2x.onnx exists already; use --overwrite"):
        check_output(tmp_path / "new", "native_2x", overwrite=False)
    check_output(tmp_path / "new", "native_2x", overwrite=True)
    check_output(tmp_path / "new", "native_6x", overwrite=False)
    with pytest.raises(OutputError, match="is a file; give the name of a folder"):
        check_output(tmp_path / "new" / "native_2x.onnx", "native_2x", overwrite=False)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        check_output(tmp_path / "no" / "new", "native_2x", overwrite=False)


def run(files, model, inputs):
    """Results of an exported file in onnxruntime, and its session."""
    import onnxruntime

    session = onnxruntime.InferenceSession(files[f"{model}.onnx"])
    names = [each.name for each in session.get_inputs()]
    feed = {name: image.numpy() for name, image in zip(names, inputs, strict=True)}
    return session.run(None, feed), session


ARCHITECTURES = [
    ("native", 2, None),
    ("native", 2, "mtf"),
    ("native", 6, None),
    ("adaptive", 2, None),
    ("attention", 2, None),
    ("dsen2", 2, None),
    ("dsen2", 6, None),
    ("rsa", 2, None),
    ("rsa", 6, None),
    ("regression", 6, None),
    ("guided", 6, None),
]


@pytest.mark.onnx
@pytest.mark.parametrize(("kind", "scale", "projection"), ARCHITECTURES)
def test_every_architecture_gives_torch_s_result_at_any_size(kind, scale, projection):
    model = tiny_model(kind, scale, projection)
    form = form_of(model, "grids")
    files = exported_files(form, "float32")
    for seed, (rows, columns, batch) in enumerate([(9, 4, 1), (5, 12, 3)]):
        images = form.example(seed, rows, columns, batch)
        [found], _ = run(files, model.card.name, images)
        with torch.no_grad():
            expected = form(*images)
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.onnx
def test_the_shipped_model_gives_torch_s_result():
    """native_6x is left out: torch needs more than half an hour to export it."""
    name = "native_2x"
    model = load_model(name)
    form = form_of(model, "grids")
    files = exported_files(form, "float32")
    images = form.example(5, 20, 30, 1)
    [found], session = run(files, name, images)
    with torch.no_grad():
        expected = form(*images)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["decametre:margin"]) == model.card.margin
    assert json.loads(metadata["decametre:bands_in"])["10"] == ["B02", "B03", "B04", "B08"]
    item = json.loads(files[f"{name}.json"])
    assert errors_of(item) == []
    names = [each["name"] for each in item["properties"]["mlm:input"]]
    assert names == [each.name for each in session.get_inputs()]


@pytest.mark.onnx
def test_float16_computes_in_float16_inside():
    import onnx

    model = tiny_model("native")
    form = form_of(model, "grids")
    files = exported_files(form, "float16")
    images = form.example(5, 20, 30, 1)
    [found], _ = run(files, model.card.name, images)
    assert found.dtype == np.float32
    with torch.no_grad():
        np.testing.assert_allclose(found, form(*images).numpy(), rtol=0, atol=2e-3)
    graph = onnx.load_from_string(files["native_2x.onnx"]).graph
    assert onnx.TensorProto.FLOAT16 in {weights.data_type for weights in graph.initializer}


@pytest.mark.onnx
def test_deepness_has_one_square_input_and_an_output_for_each_band():
    model = tiny_model("native", 6)
    form = form_of(model, "deepness")
    found, session = run(exported_files(form, "float32"), model.card.name, form.example(1, 1, 1, 1))
    [given] = session.get_inputs()
    assert given.shape[1:] == [12, 600, 600]
    assert [each.shape[1:] for each in session.get_outputs()] == [[1, 600, 600]] * 2
    assert len(found) == 2
    assert session.get_modelmeta().custom_metadata_map["model_type"] == '"Regressor"'


@pytest.mark.onnx
def test_evoland_s_input_is_called_input():
    model = tiny_model("native")
    form = form_of(model, "evoland")
    [found], session = run(exported_files(form, "float32"), "native_2x", form.example(1, 40, 50, 1))
    assert [each.name for each in session.get_inputs()] == ["input"]
    assert found.shape == (1, 10, 80, 100)
