"""The recipe of a super-resolution network: its sections, keys, defaults and limits."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from decametre.training.recipe import (
    DataRecipe,
    Integer,
    OptimizationRecipe,
    Real,
    Recipe,
    Section,
)

Kernel = Literal["dsen2", "mtf"]


class SuperResolutionNetwork(Section):
    """The network to train.

    Attributes:
        architecture: Name in `superres.models.registry.NETWORKS`.
        scale: 2 for the 20 m bands, 6 for the 60 m bands.
        config: Arguments of the architecture.
        projection: Kernel of a consistency layer after the network; no such layer by default.
    """

    architecture: str
    scale: Literal[2, 6]
    config: dict[str, Any] = Field(default_factory=dict)
    projection: Kernel | None = None


class SuperResolutionData(DataRecipe):
    """What it is trained on: products, as paths, patterns such as `scenes/*/item.json`, or URLs.

    Attributes:
        kernels: Degradation kernels. Patches are drawn from all of them in equal parts; the first
            one degrades the validation products.
        patch: Edge of a patch in pixels of the degraded coarsest grid (40 m or 360 m).
        gain: Reflectance is multiplied by exp(u), u uniform in [-gain, gain], patch by patch.
        mixing: Bands are mixed with others of their GSD, up to this share; see `sampling.mixed`.
        min_measured: See `wald.MIN_MEASURED`; less lets more of torn scenes teach.
        window: Edge, in 10 m pixels, of the windows into which a product is cut for training.
        windows: At most so many windows are taken from a product, spread at random; the rest of
            it is not read. Memory is 20 bytes for each 10 m pixel that is taken and each kernel at
            scale 2, and 2 bytes at scale 6.
    """

    kernels: tuple[Kernel, ...] = Field(min_length=1)
    patch: Integer = Field(gt=0)
    gain: Real = Field(default=0.3, ge=0, le=1)
    mixing: Real = Field(default=0.0, ge=0, le=1)
    min_measured: Real = Field(default=0.9, gt=0, le=1)
    window: Integer = Field(default=1380, gt=0, multiple_of=60)
    windows: Integer = Field(default=8, gt=0)


class SuperResolutionOptimization(OptimizationRecipe):
    """Optimizer, learning rate, batch size, steps and loss.

    Attributes:
        steps: Optimizer steps.
        loss: `l1`, or `charbonnier`: sqrt(e^2 + (1e-3)^2), which is L1 with a smooth minimum.
    """

    steps: Integer = Field(gt=0)
    loss: Literal["l1", "charbonnier"] = "l1"


class SuperResolutionRecipe(Recipe):
    """Train a network that sharpens bands to 10 m."""

    task: Literal["super-resolution"]
    network: SuperResolutionNetwork
    data: SuperResolutionData
    optimization: SuperResolutionOptimization
