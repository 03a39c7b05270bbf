"""The recipe of a land-cover network: its sections, keys, defaults and limits."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from decametre.choices import Norm
from decametre.errors import UnknownNameError
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
    """What is trained.

    Attributes:
        backbone: Name of a network of timm, such as `resnet50`.
        config: Arguments of `timm.create_model`, such as `img_size`.
        bands: What it sees.
        upsampling: How the bands come to 10 m: `bilinear`, in the network, or `super-resolution`,
            before, into the store of patches.
        norm: Batch norm over ranks. `merged`: every micro-batch is normalised by itself, and
            running statistics are merged over the global batch. `synchronised`: by the statistics
            of the global batch. `group`: group norm (Wu & He 2018) in its place. `frozen`:
            statistics, weights and biases stay as they are at the start.
        dropout: Share of the features that are left out before the last layer.
    """

    backbone: str
    config: dict[str, Any] = Field(default_factory=dict)
    bands: tuple[str, ...] = BAND_NAMES
    upsampling: Literal["bilinear", "super-resolution"] = "bilinear"
    norm: Norm = "merged"
    dropout: Fraction = 0.5

    @field_validator("bands")
    @classmethod
    def _in_order(cls, bands: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return parse_bands(bands)
        except UnknownNameError as error:
            raise PydanticCustomError("bands", "{said}", {"said": str(error)}) from error


class Mixup(Section):
    """Each patch is mixed with another (Zhang et al. 2018), as are their label vectors.

    Attributes:
        alpha: Of the distribution Beta(alpha, alpha) of a patch's part in the mixture.
        form: `convex`: part x patch + (1 - part) x other. `difference`: the other is subtracted, as
            Sedona et al. (2019) put it in words.
    """

    alpha: Real = Field(default=0.2, gt=0)
    form: Literal["convex", "difference"] = "convex"


class LandCoverData(DataRecipe):
    """What it is trained on: one store of patches each, as `decametre patches` makes them.

    Of a store whose patches have splits, the patches of the part's own are taken.

    Attributes:
        turn: Patches are flipped and turned by multiples of 90 degrees, at random.
        mixup: See `Mixup`; none without.
    """

    turn: bool = True
    mixup: Mixup | None = None


class LandCoverOptimization(OptimizationRecipe):
    """How it is trained.

    Attributes:
        epochs: How often every patch is seen.
        micro_batch: See `OptimizationRecipe`; batch norm `merged` normalises over it.
        loss: Sum over labels of `bce`: binary cross-entropy; `focal` (Lin et al. 2017); or
            `asymmetric` (Ridnik et al. 2021), in which easy negatives count less than positives.
        class_weights: Weight of a class's labels: `none`; `inverse` to how many patches have it; or
            `effective` (Cui et al. 2019), which levels off for classes with many.
        average: As in `OptimizationRecipe`.
    """

    epochs: Integer = Field(gt=0)
    micro_batch: Integer | None = Field(default=32, gt=0)
    loss: Literal["bce", "focal", "asymmetric"] = "bce"
    class_weights: Literal["none", "inverse", "effective"] = "none"
    average: Decay = 0.0


class LandCoverRecipe(Recipe):
    """Name the land cover of patches.

    Attributes:
        validate_every: Epochs between validations.
    """

    task: Literal["landcover"]
    network: LandCoverNetwork
    data: LandCoverData
    optimization: LandCoverOptimization
    validate_every: Integer = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _refuse_statistics_of_nothing(self) -> Self:
        norm, micro_batch = self.network.norm, self.optimization.micro_batch
        if norm == "merged" and micro_batch is None:
            raise PydanticCustomError(
                "norm",
                "network.norm merged needs optimization.micro_batch: with batch norm over a "
                "rank's whole share, results would depend on the shares",
            )
        if norm == "synchronised" and micro_batch is not None:
            raise PydanticCustomError(
                "norm",
                "network.norm synchronised takes a rank's share at once; give "
                "optimization.micro_batch: null",
            )
        return self
