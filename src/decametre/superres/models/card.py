"""A model's card: everything that inference must know about a network, and where it came from.

A card is a STAC item with the Machine Learning Model extension (MLM). It stands beside the
weights (safetensors, no pickle) and carries their checksum. Inference reads margin, scale, bands
and window alignment from here, never from a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decametre.choices import KERNELS
from decametre.errors import ModelError
from decametre.model_folder import (
    ATTRIBUTION,
    LICENSE,
    checksum_in,
    read_item,
    stac_item,
    tensor,
)
from decametre.sentinel2.bands import ALL_BANDS, FINEST_GSD

SUPER_RESOLUTION = "super-resolution"
"""What the models of a `Card` are for, in MLM's words."""


@dataclass(frozen=True)
class Card:
    """What a network is.

    Attributes:
        name: The model's name, such as `native_2x`.
        network: The architecture's name in the registry.
        config: Arguments of the architecture, beside `bands_in`.
        bands_in: Band names for each GSD in metres, in the order of the network's channels. The
            coarsest GSD's bands are the ones that it brings to 10 m.
        margin: Receptive field in pixels of the coarsest grid.
        alignment: Windows start at multiples of so many pixels of the coarsest grid, counted
            from the product's origin; 1 for a purely convolutional network.
        projection: Degradation kernel of the consistency layer behind the network, `dsen2` or
            `mtf`; None where there is no such layer.
        training: How it was trained: kernel, scenes, steps, and so on.
        scores: How it scored, and where.
        datetime: When the weights were made, ISO 8601.
        attribution: Whose data the weights were trained on.
        license: SPDX identifier.
        parameters: Number of weights.
        checksum: SHA-256 of the weights file as hexadecimal, empty where there are no weights.
    """

    name: str
    network: str
    config: Mapping[str, Any]
    bands_in: Mapping[int, tuple[str, ...]]
    margin: int
    alignment: int = 1
    projection: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    datetime: str = "2026-01-01T00:00:00Z"
    attribution: str = ATTRIBUTION
    license: str = LICENSE
    parameters: int = 0
    checksum: str = ""

    @property
    def coarsest(self) -> int:
        """GSD in metres of the bands that the network brings to 10 m."""
        return max(self.bands_in)

    @property
    def scale(self) -> int:
        """Ratio of the coarsest grid to the 10 m grid: 2 or 6."""
        return self.coarsest // FINEST_GSD

    @property
    def bands_out(self) -> tuple[str, ...]:
        """The bands that the network brings to 10 m."""
        return self.bands_in[self.coarsest]

    @property
    def bands(self) -> tuple[str, ...]:
        """All bands that the network looks at."""
        return tuple(name for names in self.bands_in.values() for name in names)

    def to_stac(self) -> dict[str, Any]:
        """The card as a STAC item with the MLM extension."""
        properties = {
            "datetime": self.datetime,
            "description": f"Brings {', '.join(self.bands_out)} to {FINEST_GSD} m",
            "license": self.license,
            "attribution": self.attribution,
            "mlm:architecture": self.network,
            "mlm:tasks": [SUPER_RESOLUTION],
            "mlm:total_parameters": self.parameters,
            "mlm:input": [
                tensor(f"reflectance_{gsd}m", names) for gsd, names in self.bands_in.items()
            ],
            "mlm:output": [
                {
                    "name": "reflectance_10m",
                    "tasks": [SUPER_RESOLUTION],
                    "result": tensor("reflectance_10m", self.bands_out)["input"],
                }
            ],
            "decametre:config": dict(self.config),
            "decametre:bands_in": {str(gsd): list(n) for gsd, n in self.bands_in.items()},
            "decametre:scale": self.scale,
            "decametre:margin": self.margin,
            "decametre:alignment": self.alignment,
            "decametre:projection": self.projection,
            "decametre:training": dict(self.training),
            "decametre:scores": dict(self.scores),
        }
        return stac_item(self.name, self.checksum, properties)

    @classmethod
    def from_stac(cls, item: Mapping[str, Any], where: str) -> Card:
        """Read a card.

        Args:
            item: The STAC item.
            where: The file it came from, for messages.

        Raises:
            ModelError: A field is missing, or a value makes no sense.
        """
        try:
            properties = item["properties"]
            bands_in = {
                int(gsd): tuple(names) for gsd, names in properties["decametre:bands_in"].items()
            }
            card = cls(
                name=item["id"],
                network=properties["mlm:architecture"],
                config=properties["decametre:config"],
                bands_in=dict(sorted(bands_in.items())),
                margin=int(properties["decametre:margin"]),
                alignment=int(properties["decametre:alignment"]),
                projection=properties.get("decametre:projection"),  # absent from older cards
                training=properties["decametre:training"],
                scores=properties["decametre:scores"],
                datetime=properties["datetime"],
                attribution=properties["attribution"],
                license=properties["license"],
                parameters=int(properties["mlm:total_parameters"]),
                checksum=checksum_in(item),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{where}: not a decametre model card ({type(error).__name__}: {error})"
            ) from error
        for gsd, names in card.bands_in.items():
            for name in names:
                if name not in ALL_BANDS or ALL_BANDS[name].gsd != gsd:
                    raise ModelError(f"{where}: there is no band '{name}' at {gsd} m")
        if card.margin < 0 or card.alignment < 1:
            raise ModelError(
                f"{where}: margin {card.margin} and alignment {card.alignment} must be at least "
                "0 and 1"
            )
        if card.projection not in (None, *KERNELS):
            raise ModelError(
                f"{where}: projection '{card.projection}' is no degradation kernel; known: "
                f"{', '.join(KERNELS)}, or null for none"
            )
        return card


def read_card(path: Path) -> Card:
    """Read `card.json`.

    Raises:
        ModelError: There is none, or it is no card of such a model.
    """
    return Card.from_stac(read_item(path, SUPER_RESOLUTION), str(path))
