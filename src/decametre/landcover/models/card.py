"""Land-cover models as folders: a card (STAC item with MLM) and weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from decametre.choices import Norm
from decametre.errors import ModelError
from decametre.landcover.models.network import LandCoverNetwork
from decametre.model_folder import (
    ATTRIBUTION,
    CARD_NAME,
    LICENSE,
    checksum_in,
    load_weights,
    packed,
    read_item,
    stac_item,
    tensor,
    write_card,
    write_folder,
)
from decametre.sentinel2.bands import BAND_NAMES

TASK = "scene-classification"
"""In MLM's words."""


@dataclass(frozen=True)
class LandCoverCard:
    """What a land-cover network is.

    Attributes:
        name: The model's name.
        backbone: Name of a network of timm.
        config: Arguments of `timm.create_model`.
        norm: See `normalization.with_norm`.
        bands_in: Band names for each GSD in metres, as the network takes them.
        sharpened: Whether all bands come at 10 m from super-resolution; else on native grids.
        nomenclature: Name of the list of classes.
        classes: Names, in the order of the network's outputs.
        thresholds: From which probability on a class is there, and how that was chosen, as
            `evaluation.multilabel_thresholds.record` has it; empty: from 0.5 on.
        training: How it was trained.
        scores: How it scored, and where.
        datetime: When the weights were made, ISO 8601.
        attribution: Whose data the weights were trained on.
        license: SPDX identifier.
        parameters: Number of weights.
        checksum: SHA-256 of the weights file as hexadecimal; empty where there are no weights.
    """

    name: str
    backbone: str
    config: Mapping[str, Any]
    norm: Norm
    bands_in: Mapping[int, tuple[str, ...]]
    sharpened: bool
    nomenclature: str
    classes: tuple[str, ...]
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    datetime: str = "2026-01-01T00:00:00Z"
    attribution: str = ATTRIBUTION
    license: str = LICENSE
    parameters: int = 0
    checksum: str = ""

    @property
    def bands(self) -> tuple[str, ...]:
        """All bands that the network looks at, by wavelength."""
        seen = {name for names in self.bands_in.values() for name in names}
        return tuple(name for name in BAND_NAMES if name in seen)

    def to_stac(self) -> dict[str, Any]:
        """The card as a STAC item with the MLM extension."""
        properties = {
            "datetime": self.datetime,
            "description": f"Names the land cover of patches ({self.nomenclature})",
            "license": self.license,
            "attribution": self.attribution,
            "mlm:architecture": self.backbone,
            "mlm:tasks": [TASK],
            "mlm:total_parameters": self.parameters,
            "mlm:input": [
                tensor(f"reflectance_{gsd}m", names) for gsd, names in self.bands_in.items()
            ],
            "mlm:output": [
                {
                    "name": "probabilities",
                    "tasks": [TASK],
                    "result": {
                        "shape": [-1, len(self.classes)],
                        "dim_order": ["batch", "class"],
                        "data_type": "float32",
                    },
                    "classification:classes": [
                        {"value": value, "name": name} for value, name in enumerate(self.classes)
                    ],
                }
            ],
            "decametre:config": dict(self.config),
            "decametre:norm": self.norm,
            "decametre:bands_in": {str(gsd): list(n) for gsd, n in self.bands_in.items()},
            "decametre:sharpened": self.sharpened,
            "decametre:nomenclature": self.nomenclature,
            "decametre:thresholds": dict(self.thresholds),
            "decametre:training": dict(self.training),
            "decametre:scores": dict(self.scores),
        }
        return stac_item(self.name, self.checksum, properties)

    @classmethod
    def from_stac(cls, item: Mapping[str, Any], where: str) -> LandCoverCard:
        """Read a card.

        Args:
            item: The STAC item.
            where: The file it came from, for messages.

        Raises:
            ModelError: A field is missing, or a value makes no sense.
        """
        try:
            properties = item["properties"]
            classes = properties["mlm:output"][0]["classification:classes"]
            card = cls(
                name=item["id"],
                backbone=properties["mlm:architecture"],
                config=properties["decametre:config"],
                norm=properties["decametre:norm"],
                bands_in={
                    int(gsd): tuple(names)
                    for gsd, names in properties["decametre:bands_in"].items()
                },
                sharpened=properties["decametre:sharpened"],
                nomenclature=properties["decametre:nomenclature"],
                classes=tuple(found["name"] for found in classes),
                thresholds=dict(properties["decametre:thresholds"]),
                training=properties["decametre:training"],
                scores=properties["decametre:scores"],
                datetime=properties["datetime"],
                attribution=properties["attribution"],
                license=properties["license"],
                parameters=int(properties["mlm:total_parameters"]),
                checksum=checksum_in(item),
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ModelError(
                f"{where}: not a card of a land-cover model ({type(error).__name__}: {error})"
            ) from error
        unknown = {n for names in card.bands_in.values() for n in names}.difference(BAND_NAMES)
        if unknown:
            raise ModelError(f"{where}: there is no band {', '.join(sorted(unknown))}")
        return card


@dataclass(frozen=True)
class LandCoverModel:
    """A network with its card."""

    card: LandCoverCard
    network: LandCoverNetwork


def build_land_cover(card: LandCoverCard) -> LandCoverNetwork:
    """A network as a card says, with weights as they start.

    Raises:
        ModelError: It cannot be built.
    """
    return LandCoverNetwork(card.backbone, card.bands_in, len(card.classes), card.config, card.norm)


def load_land_cover(folder: Path) -> LandCoverModel:
    """Load a model from a folder with `card.json` and `weights.safetensors`.

    Raises:
        ModelError: Card or weights are missing, damaged, of a model for another task, or do not fit
            one another.
    """
    path = folder / CARD_NAME
    card = LandCoverCard.from_stac(read_item(path, TASK), str(path))
    network = build_land_cover(card)
    load_weights(folder, card.name, card.checksum, network)
    return LandCoverModel(card, network.eval())


def save_land_cover(folder: Path, card: LandCoverCard, network: nn.Module) -> LandCoverCard:
    """Write weights and card into a folder, which is made, in place of an earlier model there.

    Args:
        folder: The model folder.
        card: Everything but parameters and checksum, which are taken from the network.
        network: In float32.

    Returns:
        The card as written.
    """
    weights, checksum = packed(network)
    card = dataclasses.replace(
        card,
        parameters=sum(weight.numel() for weight in network.parameters()),
        checksum=checksum,
    )
    write_folder(folder, weights, card.to_stac())
    return card


def store_thresholds(folder: Path, thresholds: Mapping[str, Any]) -> None:
    """Write thresholds into a model's card, in place of those it had; the weights stay.

    Args:
        folder: The model folder.
        thresholds: See `LandCoverCard.thresholds`.

    Raises:
        ModelError: The card cannot be read or written.
    """
    item = read_item(folder / CARD_NAME, TASK)
    item["properties"]["decametre:thresholds"] = dict(thresholds)
    write_card(folder, item)
