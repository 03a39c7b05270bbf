"""The recipe of a land-cover network: its sections, keys, defaults and limits."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from decametre.errors import UnknownNameError
from decametre.options import Norm
from decametre.sentinel2.bands import BAND_NAMES, parse_bands
from decametre.training.recipe import (
    DataRecipe,
    Decay,
    Fraction,
    Integer,
    OptimizationRecipe,
    Real,
    Recipe,
    Section,
)


class LandCoverNetwork(Section):
    """The network to train.

    Attributes:
        backbone: Name of a network of timm, such as `resnet50`.
        config: Arguments of `timm.create_model`, such as `img_size`.
        bands: Input bands.
        upsampling: How the bands are brought to 10 m: `bilinear`, in the network; or
            `super-resolution`, when the store of patches is made.
        norm: Batch norm over ranks. `merged`: each micro-batch is normalised separately, and the
            running statistics are averaged over the global batch. `synchronised`: with the
            statistics of the global batch. `group`: group norm (Wu & He 2018) instead. `frozen`:
            statistics, weights and biases do not change.
        dropout: Fraction of the features that are dropped before the last layer.
        pretrained: Weights with which the backbone starts: a file of torchvision, timm or torchgeo,
            or the name of weights that timm downloads, such as `resnet50.a1_in1k`. The first
            convolution is adapted to the bands.
    """

    backbone: str
    config: dict[str, Any] = Field(default_factory=dict)
    bands: tuple[str, ...] = BAND_NAMES
    upsampling: Literal["bilinear", "super-resolution"] = "bilinear"
    norm: Norm = "merged"
    dropout: Fraction = 0.5
    pretrained: str | None = None

    @field_validator("bands")
    @classmethod
    def _in_order(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        try:
            found = parse_bands(bands)
            return tuple(name for name in BAND_NAMES if name in found)
        except UnknownNameError as error:
            raise PydanticCustomError("bands", "{reason}", {"reason": str(error)}) from error


class Mixup(Section):
    """Mix-up: each patch and its labels are mixed with another patch (Zhang et al. 2018).

    Attributes:
        alpha: Parameter of the distribution Beta(alpha, alpha) of a patch's weight.
        form: `convex`: weight x patch + (1 - weight) x other. `difference`: the other patch is
            subtracted, as the text of Sedona et al. (2019) says.
    """

    alpha: Real = Field(default=0.2, gt=0)
    form: Literal["convex", "difference"] = "convex"


class LandCoverData(DataRecipe):
    """One store of patches each for training and validation, as `decametre patches` makes them.

    If the patches of a store have splits, only those of the matching split are used.

    Attributes:
        turn: Whether patches are randomly flipped and rotated by multiples of 90 degrees.
        mixup: See `Mixup`; no mix-up by default.
    """

    turn: bool = True
    mixup: Mixup | None = None


class LandCoverOptimization(OptimizationRecipe):
    """Optimizer, learning rate, batch size, epochs and loss.

    Attributes:
        epochs: How often each patch is used.
        micro_batch: See `OptimizationRecipe`; batch norm `merged` normalises over a micro-batch.
        loss: Sum over labels of `bce` (binary cross-entropy); `focal` (Lin et al. 2017); or
            `asymmetric` (Ridnik et al. 2021), in which easy negatives count less than positives.
        class_weights: Weight of the labels of a class: `none`; `inverse` to the number of its
            patches; or `effective` (Cui et al. 2019), which is less steep for frequent classes.
        average: As in `OptimizationRecipe`.
    """

    epochs: Integer = Field(gt=0)
    micro_batch: Integer | None = Field(default=32, gt=0)
    loss: Literal["bce", "focal", "asymmetric"] = "bce"
    class_weights: Literal["none", "inverse", "effective"] = "none"
    average: Decay = 0.0


class LandCoverRecipe(Recipe):
    """Train a network that classifies the land cover of patches.

    Attributes:
        validate_every: Epochs between validations.
    """

    task: Literal["landcover"]
    network: LandCoverNetwork
    data: LandCoverData
    optimization: LandCoverOptimization
    validate_every: Integer = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _check_norm(self) -> Self:
        norm, micro_batch = self.network.norm, self.optimization.micro_batch
        if norm == "merged" and micro_batch is None:
            raise PydanticCustomError(
                "norm",
                "network.norm merged requires optimization.micro_batch: with batch norm over a "
                "rank's complete share, results would depend on the shares",
            )
        if norm == "synchronised" and micro_batch is not None:
            raise PydanticCustomError(
                "norm",
                "network.norm synchronised requires a rank's complete share at once; set "
                "optimization.micro_batch: null",
            )
        return self
