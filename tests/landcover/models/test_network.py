"""Backbones of land-cover networks."""

import pytest

from decametre.errors import ModelError
from decametre.landcover.models.network import LandCoverNetwork


@pytest.mark.parametrize(
    ("backbone", "config", "message"),
    [
        ("hf-hub:someone/something", {}, "is not the name of a network of timm"),
        ("hf_hub:someone/something", {}, "is not the name of a network of timm"),
        ("local-dir:/home/me/model", {}, "is not the name of a network of timm"),
        ("../model", {}, "is not the name of a network of timm"),
        ("test_resnet", {"checkpoint_path": "/tmp/x.pth"}, "checkpoint_path must not be set"),
        ("test_resnet", {"pretrained": True}, "pretrained must not be set"),
        ("test_resnet", {"pretrained_cfg": {"file": "x"}}, "pretrained_cfg must not be set"),
    ],
)
def test_a_backbone_reads_no_file_and_downloads_nothing(backbone, config, message):
    with pytest.raises(ModelError, match=message):
        LandCoverNetwork(backbone, {10: ("B02",)}, 2, config)
