"""The recipes of super-resolution networks and of their uncertainty, with defaults and limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from decametre.training.recipe import (
    DataRecipe,
    Integer,
    OptimizationRecipe,
    Real,
    Recipe,
    Section,
)

Kernel = Literal["dsen2", "mtf"]
NyquistGain = Annotated[Real, Field(ge=0.05, le=0.9)]


class SuperResolutionNetwork(Section):
    """The network to train.

    Attributes:
        architecture: Name in `superres.models.registry.NETWORKS`.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        config: Arguments of the architecture.
        projection: Kernel of the consistency layer after the network; no such layer by default.
    """

    architecture: str
    scale: Literal[2, 6]
    config: dict[str, Any] = Field(default_factory=dict)
    projection: Kernel | None = None


class SuperResolutionData(DataRecipe):
    """Training and validation products: paths, patterns such as `scenes/*/item.json`, or URLs.

    Attributes:
        kernels: Degradation kernels, which alternate from patch to patch: `dsen2`, `mtf`, or
            `drawn`, a random kernel for each patch (`kernels.random_taps`). A kernel may be listed
            several times.
        nyquist_gains: Smallest and largest gain of the random kernels, at the Nyquist frequency of
            the degraded grid.
        validation_kernels: Degradation kernels of the validation products; the score is the mean
            over them.
        patch: Edge of a patch in pixels of the degraded coarsest grid (40 m or 360 m).
        gain: The reflectance of a patch is multiplied by exp(u), u uniform in [-gain, gain].
        mixing: Largest share of other bands of the same GSD that is mixed into a band; see
            `training_patches.mixed`.
        min_measured: See `degraded_scene.MIN_MEASURED`. A smaller share uses more of scenes with
            gaps.
        window: Edge, in 10 m pixels, of the windows into which a product is divided.
        windows: Largest number of windows of a product, chosen at random; only these are read. They
            need 28 bytes of memory for each 10 m pixel.
    """

    kernels: tuple[Kernel | Literal["drawn"], ...] = Field(min_length=1)
    nyquist_gains: tuple[NyquistGain, NyquistGain] = (0.1, 0.65)
    validation_kernels: tuple[Kernel, ...] = Field(default=("dsen2", "mtf"), min_length=1)
    patch: Integer = Field(gt=0)
    gain: Real = Field(default=0.3, ge=0, le=1)
    mixing: Real = Field(default=0.0, ge=0, le=1)
    min_measured: Real = Field(default=0.9, gt=0, le=1)
    window: Integer = Field(default=1380, gt=0, multiple_of=60)
    windows: Integer = Field(default=8, gt=0)

    @field_validator("nyquist_gains")
    @classmethod
    def _in_order(cls, gains: tuple[float, float]) -> tuple[float, float]:
        if gains[0] > gains[1]:
            raise PydanticCustomError("order", "Input should be the least gain and the greatest")
        return gains


class SuperResolutionOptimization(OptimizationRecipe):
    """Optimizer, learning rate, batch size, steps and loss.

    Attributes:
        steps: Optimizer steps.
        loss: `l1`; `charbonnier`: sqrt(e^2 + (1e-3)^2), which is L1 with a smooth minimum; or
            `relative`: L1 divided by the mean error of bicubic interpolation in the same patch and
            band, so that ground of low contrast counts as much as towns, as it does in the score.
    """

    steps: Integer = Field(gt=0)
    loss: Literal["l1", "charbonnier", "relative"] = "l1"


class SuperResolutionRecipe(Recipe):
    """Train a network that sharpens bands to 10 m."""

    task: Literal["super-resolution"]
    network: SuperResolutionNetwork
    data: SuperResolutionData
    optimization: SuperResolutionOptimization


class UncertaintyNetwork(Section):
    """The network to train.

    Attributes:
        model: Name or folder of the model whose uncertainty it predicts.
        config: Arguments of `UncertaintyTrunk`.
    """

    model: str
    config: dict[str, Any] = Field(default_factory=dict)


class UncertaintyOptimization(OptimizationRecipe):
    """Optimizer, learning rate, batch size and steps.

    Attributes:
        steps: Optimizer steps.
    """

    steps: Integer = Field(gt=0)


class UncertaintyRecipe(Recipe):
    """Train a network that predicts the uncertainty of a model's result."""

    task: Literal["uncertainty"]
    network: UncertaintyNetwork
    data: SuperResolutionData
    optimization: UncertaintyOptimization
