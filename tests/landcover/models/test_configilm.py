"""Published networks, with random weights in exactly the layout of ConfigILM."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

import decametre
from decametre.errors import ModelError, OutputError
from decametre.landcover.models.card import load_land_cover
from decametre.landcover.models.configilm import DEVIATIONS_DN, MEANS_DN, import_published
from decametre.landcover.patches.nomenclature import BIGEARTHNET19
from tests.support.stac_schemas import errors_of

NEW = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
OLD = ["B02", "B03", "B04", "B08", "B05", "B06", "B07", "B11", "B12", "B8A"]

CONFIG = {
    "channels": 10,
    "class_names": None,
    "classes": 19,
    "custom_fusion_activation": None,
    "custom_fusion_method": None,
    "drop_path_rate": 0.0,
    "drop_rate": 0.15,
    "fusion_dropout_rate": 0.25,
    "fusion_hidden": 256,
    "fusion_in": 512,
    "fusion_out": 512,
    "hf_model_name": None,
    "image_size": 120,
    "load_pretrained_hf_if_available": True,
    "load_pretrained_timm_if_available": False,
    "max_sequence_length": 32,
    "network_type": 0,
    "t_dropout_rate": 0.25,
    "timm_model_name": "test_resnet",
    "use_pooler_output": True,
    "v_dropout_rate": 0.25,
    "visual_features_out": 512,
}


def published(folder, backbone="test_resnet", **changes):
    """Leave a published folder; returns its network of timm."""
    config = CONFIG | {"timm_model_name": backbone} | changes
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    size = {"img_size": 120} if "vit" in backbone else {}
    network = timm.create_model(
        backbone, num_classes=config["classes"], in_chans=config["channels"], **size
    ).eval()
    weights = {f"model.vision_encoder.{key}": w for key, w in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    return network


def by_the_book(network, reflectance, order):
    """Probabilities as ConfigILM's data set and network compute them, by class name."""
    planes = []
    for name in order:
        plane = reflectance[name] * 10000
        plane = plane.repeat_interleave(120 // len(plane), 0)
        plane = plane.repeat_interleave(120 // plane.shape[1], 1)
        planes.append((plane - MEANS_DN[name]) / DEVIATIONS_DN[name])
    with torch.no_grad():
        logits = network(torch.stack(planes)[None])[0]
    return dict(zip(sorted(BIGEARTHNET19.classes), logits.sigmoid().tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "backbone", "order"),
    [
        ("resnet-s2-v0.2.0", "test_resnet", NEW),
        ("resnet-s2-v0.1.1", "test_resnet", OLD),
        pytest.param("vit-s2-v0.2.0", "vit_small_patch8_224", NEW, marks=pytest.mark.slow),
    ],
)
def test_an_imported_network_gives_the_probabilities_of_the_published_one(
    tmp_path, name, backbone, order
):
    network = published(tmp_path / name, backbone)
    card = import_published(tmp_path / name, tmp_path / "mine")
    assert card.classes == BIGEARTHNET19.classes
    assert card.bands == tuple(NEW)
    assert card.license == "MIT"
    model = load_land_cover(tmp_path / "mine")
    random = torch.Generator().manual_seed(1)
    reflectance = {
        band: torch.rand(120 * 10 // gsd, 120 * 10 // gsd, generator=random) * 0.3
        for gsd, names in model.card.bands_in.items()
        for band in names
    }
    images = {
        gsd: torch.stack([reflectance[band] for band in names])[None]
        for gsd, names in model.card.bands_in.items()
    }
    with torch.no_grad():
        found = model.network(images)[0].sigmoid().tolist()
    expected = by_the_book(network, reflectance, order)
    for label, probability in zip(model.card.classes, found, strict=True):
        assert probability == pytest.approx(expected[label], abs=1e-5), label
    assert errors_of(json.loads((tmp_path / "mine" / "card.json").read_text())) == []


def test_the_release_may_stand_in_the_readme_or_be_given(tmp_path):
    published(tmp_path / "download")
    with pytest.raises(ModelError, match=r"states the release.*give --release 0.2.0"):
        import_published(tmp_path / "download", tmp_path / "a")
    card = decametre.import_model(tmp_path / "download", tmp_path / "a", release="0.1.1")
    assert card.training["imported_from"].endswith("0.1.1")
    readme = "from_pretrained('BIFOLD-BigEarthNetv2-0/resnet18-s2-v0.2.0')"
    (tmp_path / "download" / "README.md").write_text(readme)
    card = decametre.import_model(tmp_path / "download", tmp_path / "b")
    assert card.training["imported_from"].endswith("0.2.0")
    with pytest.raises(OutputError, match="holds a model already; use overwrite=True"):
        decametre.import_model(tmp_path / "download", tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": 12}, "reads Sentinel-1 .12 channels.; import one of Sentinel-2"),
        ({"channels": 5}, "5 channels; known: 3, 4, 10"),
        ({"classes": 18}, "18 classes, not the 19"),
        ({"class_names": list(BIGEARTHNET19.classes)}, "class_names are not"),
        ({"network_type": 1}, "no image classification"),
    ],
)
def test_other_networks_are_refused(tmp_path, changes, words):
    published(tmp_path / "x-s2-v0.2.0", **changes)
    with pytest.raises(ModelError, match=words):
        import_published(tmp_path / "x-s2-v0.2.0", tmp_path / "mine")


def test_files_that_do_not_fit_are_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"no config.json there"):
        import_published(tmp_path, tmp_path / "mine")
    folder = tmp_path / "x-s2-v0.2.0"
    published(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"timm_model_name": "test_vit"}))
    with pytest.raises(ModelError, match="not the weights of test_vit with 10 bands"):
        import_published(folder, tmp_path / "mine")
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="cannot be read"):
        import_published(folder, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
