"""The card of a land-cover network, and models as folders of card and weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError
from torch import nn

from decametre.landcover.models.network import LandCoverNetwork
from decametre.model_folder import (
    CARD_NAME,
    STRICT,
    ModelCard,
    check_size,
    load_weights,
    read_item,
    save_model,
    write_item,
)
from decametre.options import Norm, Resampling
from decametre.sentinel2.bands import BAND_NAMES


@dataclass(frozen=True, config=STRICT)
class LandCoverCard(ModelCard):
    """The card of a land-cover network.

    The architecture is a network of timm, and its configuration the arguments of
    `timm.create_model`.

    Attributes:
        norm: See `decametre.training.batch_norm.with_norm`.
        sharpened: Whether all bands come at 10 m from super-resolution, rather than on their
            native grids.
        nomenclature: Name of the nomenclature.
        classes: Class names, in the order of the network's outputs.
        thresholds: Probability from which on each class is predicted, and how it was chosen, as
            recorded by `metrics.thresholds.record`; if empty, 0.5 for all classes.
        resampling: How the network brings coarser bands to 10 m.
        temperature: The network divides its logits by it, see `metrics.calibration`.
    """

    TASK = "scene-classification"
    PROPERTIES = (
        *("config", "norm", "bands_in", "sharpened", "nomenclature", "thresholds"),
        *("resampling", "temperature"),
        *("training", "scores"),
    )
    ADDED_LATER: ClassVar[frozenset[str]] = frozenset({"resampling", "temperature"})

    norm: Norm
    sharpened: bool
    nomenclature: str
    classes: tuple[str, ...]
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    resampling: Resampling = "bilinear"
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        unknown = set(self.bands).symmetric_difference(
            name for names in self.bands_in.values() for name in names
        )
        if unknown:
            raise PydanticCustomError("band", f"there is no band {', '.join(sorted(unknown))}")
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """All input bands of the network, by wavelength."""
        given = {name for names in self.bands_in.values() for name in names}
        return tuple(name for name in BAND_NAMES if name in given)

    @property
    def description(self) -> str:
        """What the model does, in one line."""
        return f"Names the land cover of patches ({self.nomenclature})"

    @property
    def output(self) -> dict[str, Any]:
        """The network's output as an MLM output, without its task."""
        return {
            "name": "probabilities",
            "result": {
                "shape": [-1, len(self.classes)],
                "dim_order": ["batch", "class"],
                "data_type": "float32",
            },
            "classification:classes": [
                # STAC allows no spaces in names.
                {"value": value, "name": re.sub(r"[^\w-]+", "_", name), "description": name}
                for value, name in enumerate(self.classes)
            ],
        }

    @classmethod
    def read_output(cls, output: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the card that are stored in its MLM output."""
        # Older cards have the class itself as its name.
        classes = output["classification:classes"]
        return {"classes": [each.get("description", each["name"]) for each in classes]}


@dataclasses.dataclass(frozen=True)
class LandCoverModel:
    """A network with its card."""

    card: LandCoverCard
    network: LandCoverNetwork


def build_land_cover(card: LandCoverCard) -> LandCoverNetwork:
    """Build a network by its card, with initial weights.

    Raises:
        ModelError: The network cannot be built.
    """
    return LandCoverNetwork(
        card.architecture,
        card.bands_in,
        len(card.classes),
        card.config,
        card.norm,
        card.resampling,
        card.temperature,
    )


def load_land_cover(folder: Path) -> LandCoverModel:
    """Load a model from a folder with `card.json` and `weights.safetensors`.

    Raises:
        ModelError: Card or weights are missing, damaged, of a model for another task, or do not
            fit each other.
    """
    card = LandCoverCard.read(folder)
    check_size(folder, card, lambda: build_land_cover(card))
    network = build_land_cover(card)
    load_weights(folder, card, network)
    return LandCoverModel(card, network.eval())


def save_land_cover(folder: Path, card: LandCoverCard, network: nn.Module) -> LandCoverCard:
    """Write weights and card into a folder, which is created; they replace an earlier model.

    Args:
        folder: The model folder.
        card: The card; parameters and checksum are taken from the network.
        network: The network, in float32.

    Returns:
        The card as written.
    """
    parameters = sum(weight.numel() for weight in network.parameters())
    return save_model(folder, dataclasses.replace(card, parameters=parameters), network)


def store_thresholds(
    folder: Path, thresholds: Mapping[str, Any], temperature: float | None = None
) -> None:
    """Replace the thresholds in a model's card, and its temperature; the weights remain.

    Args:
        folder: The model folder.
        thresholds: See `LandCoverCard.thresholds`.
        temperature: See `LandCoverCard.temperature`; None to keep it.

    Raises:
        ModelError: The card cannot be read or written.
    """
    item = read_item(folder / CARD_NAME, LandCoverCard.TASK)
    item["properties"]["decametre:thresholds"] = dict(thresholds)
    if temperature is not None:
        item["properties"]["decametre:temperature"] = temperature
    write_item(folder, item)
