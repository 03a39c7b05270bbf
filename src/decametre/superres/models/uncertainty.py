"""The uncertainty of a network's result, predicted at every pixel.

A small trunk on the 20 m grid receives the bands of a product and the details that a network has
added, and predicts how large the network's error is. It learns from the errors at degraded scale,
which it describes as a Laplace distribution whose scale changes from pixel to pixel (Kendall and
Gal 2017, arXiv 1703.04977, equation 8, with the absolute error). Validation scenes then give the
factors from this scale to the standard deviation and to intervals, so that these do not depend on
the shape of the distribution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from decametre.errors import ModelError
from decametre.model_folder import CARD_NAME, STRICT, ModelCard, image_batch, load_weights
from decametre.sentinel2.bands import FINEST_GSD
from decametre.superres.models.bicubic import bicubic
from decametre.superres.models.card import Card
from decametre.superres.models.native import ResidualBlock

TRUNK_GSD = 20
"""The grid of the trunk, in metres."""

FOLD = TRUNK_GSD // FINEST_GSD
"""Edge of a pixel of the trunk's grid in 10 m pixels."""

DETAIL_GAIN = 4.0
"""Factor on details before the first convolution, in addition to the network's gain, because they
are much smaller than reflectance."""

INITIAL_SCALE = 0.003
"""Scale of the Laplace distribution before training, in reflectance."""


LARGEST_SCALE = 0.1
"""Largest scale, in reflectance. Beyond the training data, such as on ground with a reflectance of
2, the exponential function would exceed any plausible error."""

FOLDER_NAME = "uncertainty"
"""Folder of the network in that of the model whose uncertainty it predicts."""

LEVELS = (50, 80, 90, 95)
"""Intervals for which the validation scenes give a factor, in percent."""


class UncertaintyTrunk(nn.Module):
    """The scale of the Laplace distribution of a network's errors.

    Args:
        bands_in: Number of bands for each GSD in metres, as for the network whose errors it
            predicts.
        width: Channels of the trunk.
        blocks: Number of residual blocks.
        gain: Factor on the reflectance before the first convolution.

    Raises:
        ValueError: A size is invalid.
    """

    alignment = 1
    """Inputs may start at any pixel of the coarsest grid."""

    def __init__(
        self, bands_in: Mapping[int, int], width: int, blocks: int, gain: float = 5.0
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError(f"width {width} must be positive and blocks {blocks} not negative")
        self.coarsest = max(bands_in)
        self.factor = self.coarsest // FINEST_GSD
        self.blocks_count, self.gain = blocks, float(gain)
        outputs = bands_in[self.coarsest] * FOLD**2
        channels = bands_in[FINEST_GSD] * FOLD**2 + outputs
        channels += sum(count for gsd, count in bands_in.items() if gsd > FINEST_GSD)
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.constant_(self.tail.bias, math.log(INITIAL_SCALE))

    @property
    def margin(self) -> int:
        """Receptive field in pixels of the coarsest grid: convolutions and interpolation."""
        return -(-(2 + 2 * self.blocks_count) * TRUNK_GSD // self.coarsest) + 2

    def forward(self, reflectance: Mapping[int, Tensor], sharpened: Tensor) -> Tensor:
        """The scale at every pixel.

        Args:
            reflectance: As for `NativeTrunk.forward`.
            sharpened: (batch, bands of the coarsest GSD, rows, columns) on the 10 m grid: the
                network's result.

        Returns:
            Mean absolute error, in reflectance, the shape of `sharpened`, float32.
        """
        coarse = reflectance[self.coarsest].float()
        details = sharpened.float() - bicubic(coarse, self.factor)
        at_trunk_grid = [
            bicubic(image.float(), gsd // TRUNK_GSD) if gsd > TRUNK_GSD else image.float()
            for gsd, image in sorted(reflectance.items())
            if gsd > FINEST_GSD
        ]
        features = torch.cat(
            [
                F.pixel_unshuffle(reflectance[FINEST_GSD].float(), FOLD) * self.gain,
                *(image * self.gain for image in at_trunk_grid),
                F.pixel_unshuffle(details, FOLD) * (self.gain * DETAIL_GAIN),
            ],
            dim=1,
        ).contiguous(memory_format=torch.channels_last)
        with torch.autocast(coarse.device.type, enabled=False):
            features = self.head(features)
        features = self.trunk(F.relu(features))
        with torch.autocast(coarse.device.type, enabled=False):
            logarithm = self.tail(features.float()).clamp(max=math.log(LARGEST_SCALE))
        return F.pixel_shuffle(logarithm, FOLD).exp()


@dataclass(frozen=True, config=STRICT)
class UncertaintyCard(ModelCard):
    """The card of a network that predicts the uncertainty of another one.

    Attributes:
        of: Name of the other network.
        of_checksum: SHA-256 of its weights.
        factors: For each band, factors on the network's output: `deviation` gives the standard
            deviation, and `50`, `80`, `90` and `95` half of the interval that contains this
            percentage of the errors.
    """

    TASK = "regression"
    PROPERTIES = ("config", "bands_in", "of", "of_checksum", "factors", "training", "scores")

    of: str
    of_checksum: str
    factors: Mapping[str, Mapping[str, float]]

    @property
    def description(self) -> str:
        """What the model does, in one line."""
        return f"Predicts the uncertainty of the result of {self.of} at every pixel"

    @property
    def output(self) -> dict[str, Any]:
        """The network's output as an MLM output, without its task."""
        coarsest = self.bands_in[max(self.bands_in)]
        return {"name": "absolute_error_10m", "result": image_batch(len(coarsest))}


class Uncertainty(NamedTuple):
    """A network that predicts the uncertainty of another one, with its card."""

    card: UncertaintyCard
    network: UncertaintyTrunk

    def deviation(self, reflectance: Mapping[int, Tensor], sharpened: Tensor) -> Tensor:
        """The standard deviation of the errors at every pixel.

        Args:
            reflectance: See `UncertaintyTrunk.forward`.
            sharpened: See `UncertaintyTrunk.forward`.

        Returns:
            Reflectance, the shape of `sharpened`, float32.
        """
        bands = self.card.bands_in[max(self.card.bands_in)]
        factors = [self.card.factors[name]["deviation"] for name in bands]
        scale = self.network(reflectance, sharpened)
        return scale * torch.tensor(factors, device=scale.device)[:, None, None]


def build_uncertainty(card: UncertaintyCard) -> UncertaintyTrunk:
    """A network as the card describes it, with initial weights.

    Raises:
        ModelError: The card's configuration is invalid.
    """
    bands_in = {gsd: len(names) for gsd, names in card.bands_in.items()}
    try:
        return UncertaintyTrunk(bands_in, **card.config)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"model {card.name}: configuration {dict(card.config)} is invalid ({error})"
        ) from error


def load_uncertainty(of: Card, folders: Iterable[Path]) -> Uncertainty:
    """Load the network that predicts the uncertainty of a model.

    Args:
        of: Card of the model.
        folders: Model folders; it is in the folder `uncertainty` of one of them.

    Returns:
        Card and network in evaluation mode.

    Raises:
        ModelError: There is none for the weights of this model, or it is damaged.
    """
    for folder in folders:
        own = folder / FOLDER_NAME
        if not (own / CARD_NAME).is_file():
            continue
        card = UncertaintyCard.read(own)
        if card.of_checksum == of.checksum:
            network = build_uncertainty(card)
            load_weights(own, card, network)
            return Uncertainty(card, network.eval())
    raise ModelError(
        f"model {of.name} has no network that predicts its uncertainty; train one with the recipe "
        f"uncertainty_{of.scale}x"
    )
