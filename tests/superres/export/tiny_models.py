"""A small network of every architecture, with random weights."""

import dataclasses

import torch

from decametre.superres.models.card import Card
from decametre.superres.models.registry import BANDS_FOR_SCALE, Model, build

CONFIGS = {
    "bicubic": ("bicubic", {}),
    "native": ("native", {"width": 8, "blocks": 1}),
    "adaptive": (
        "adaptive",
        {"width": 8, "blocks": 1, "hidden": 4, "typical_gains": [0.3] * 6},
    ),
    "attention": ("native", {"width": 8, "blocks": 2, "attention": 4, "heads": 2, "bias": False}),
    "dsen2": ("dsen2", {"width": 8, "blocks": 1}),
    "rsa": ("rsa", {"width": 8, "blocks": 2, "key_width": 4, "window": 4}),
    "regression": ("regression", {"radius": 4, "ridge": 1e-2}),
    "guided": (
        "guided",
        {
            "width": 8,
            "blocks": 1,
            "regressions": [
                {"radius": 4, "ridge": 1e-2},
                {"radius": 5, "ridge": 1e-2, "gain": 0.3, "softened": True},
            ],
        },
    ),
}


def tiny_model(kind: str, scale: int = 2, projection: str | None = None) -> Model:
    architecture, config = CONFIGS[kind]
    card = Card(
        f"{kind}_{scale}x",
        architecture,
        config,
        BANDS_FOR_SCALE[scale],
        margin=0,
        projection=projection,
        checksum="0" * 64,
    )
    torch.manual_seed(0)
    network = build(card).eval()
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    card = dataclasses.replace(card, margin=int(network.margin), alignment=int(network.alignment))
    return Model(card, network)
