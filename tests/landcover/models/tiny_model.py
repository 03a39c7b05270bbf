"""A land-cover model with random weights whose predictions differ between patches."""

from pathlib import Path

import torch

from decametre.landcover.models.card import LandCoverCard, build_land_cover, save_land_cover
from decametre.landcover.patches.nomenclature import BIGEARTHNET19
from decametre.sentinel2.bands import BAND_NAMES, bands_at

NATIVE = {gsd: bands_at(gsd) for gsd in (10, 20, 60)}
SHARPENED = {10: BAND_NAMES}


def tiny_model(folder, *, bands_in=NATIVE, nomenclature=BIGEARTHNET19, sharpened_by="", **fields):
    """Leave a model folder; returns it."""
    card = LandCoverCard(
        name=Path(folder).name,
        architecture="test_resnet",
        config={},
        norm="merged",
        bands_in=bands_in,
        sharpened=bands_in == SHARPENED,
        nomenclature=nomenclature.name,
        classes=nomenclature.classes,
        training={"sharpened_by": sharpened_by},
        **fields,
    )
    torch.manual_seed(0)
    network = build_land_cover(card)
    network.mean.fill_(0.1)
    network.deviation.fill_(0.05)
    with torch.no_grad():
        network.head.weight.mul_(40)
    save_land_cover(Path(folder), card, network)
    return Path(folder)
