"""The training patches and validation scenes of a recipe, degraded."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from decametre.errors import TrainingError
from decametre.model_folder import ATTRIBUTION
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product
from decametre.superres.degradation.degraded_scene import (
    DegradedPair,
    DegradedScene,
    degrade_scene,
    stack_pairs,
)
from decametre.superres.degradation.training_kernels import (
    MeasuredTrainingKernels,
    TrainingKernels,
)
from decametre.superres.degradation.training_patches import TrainingPatches
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.card import Card
from decametre.superres.pixels.scenes import Scene, load_scenes
from decametre.superres.training.recipe import SuperResolutionData
from decametre.text import counted
from decametre.training.prefetching import prefetch_batches
from decametre.training.task import RankSamples

log = logging.getLogger(__name__)


class DegradedData:
    """The training patches and validation scenes of a recipe.

    Args:
        data: The section `data` of the recipe.
        card: Card of the network that sharpens the patches.
        network: This network. If it adapts to blur, the patches have measured gains.
        seed: Seed of the random patches.

    Attributes:
        products: The training products.
        train: Names of the training scenes.
        validation: Names of the validation scenes.
        held_out: Each validation scene degraded by each kernel, with the kernel's name.

    Raises:
        TrainingError: There are no training or no validation data.
    """

    def __init__(
        self, data: SuperResolutionData, card: Card, network: nn.Module, seed: int
    ) -> None:
        self.workers = data.workers
        bands_in = card.bands_in
        scenes = _read_scenes(data, card, "train")
        self.products = list({product.id: product for product, _ in scenes}.values())
        if not any(scene.valid[card.coarsest].any() for _, scene in scenes):
            raise TrainingError(
                "no product under data.train has a measured pixel; give other products"
            )
        ground = [scene for _, scene in scenes]
        if isinstance(network, AdaptiveTrunk):
            kernels: TrainingKernels = MeasuredTrainingKernels(
                data.kernels, bands_in, data.nyquist_gains, network.typical_gains, ground, seed
            )
        else:
            kernels = TrainingKernels(data.kernels, bands_in, data.nyquist_gains)
        self.patches = TrainingPatches(
            ground, kernels, data.patch, data.gain, seed, data.mixing, data.min_measured
        )
        validation = _read_scenes(data, card, "validation")
        known = {product.id for product in self.products}
        for name in sorted({product.id for product, _ in validation if product.id in known}):
            log.warning("%s is in both training and validation: its score is too good", name)
        self.train = [scene.name for scene in ground]
        self.validation = [scene.name for _, scene in validation]
        self.held_out: list[tuple[str, DegradedScene]] = [
            (kernel, degraded)
            for kernel in data.validation_kernels
            for _, scene in validation
            if (degraded := degrade_scene(scene, kernel, bands_in)).full_pair().mask.any()
        ]
        if not self.held_out:
            raise TrainingError(
                "no product under data.validation has a pixel to score at scale "
                f"{card.scale}: they are too small or have too many gaps; give other products"
            )


class DegradedTask:
    """The part of a training task that all networks for degraded scenes share; see `Task`.

    Attributes:
        data: The training patches and validation scenes.
        device: Device for training.
    """

    data: DegradedData
    device: torch.device

    def batches(self, first: int, end: int, parts: RankSamples) -> Iterator[list[DegradedPair]]:
        """See `Task.batches`; the recipe's workers compute the patches."""
        return prefetch_batches(
            self.data.patches,
            stack_pairs,
            first,
            end,
            parts,
            workers=self.data.workers,
            pin_memory=self.device.type == "cuda",
        )

    def count(self, batch: DegradedPair) -> int:
        """Number of pixels in the mask."""
        return int(batch.mask.sum())


def _read_scenes(data: SuperResolutionData, card: Card, part: str) -> list[tuple[Product, Scene]]:
    """Read the scenes of one part of the recipe's data, with their products."""
    products, lacking = [], []
    for product in map(open_product, expand_patterns(getattr(data, part), part)):
        lacks = [name for name in card.bands if name not in product.bands]
        if lacks:
            lacking.append(f"{product.id} ({', '.join(lacks)})")
        else:
            products.append(product)
    if lacking:
        log.warning(
            "skipped at scale %d, since bands are missing: %s", card.scale, "; ".join(lacking)
        )
    scenes = []
    for product, scene in load_scenes(products, card.bands, data.window, data.windows):
        if min(scene.reflectance[card.coarsest].shape[1:]) < 2 * card.scale:
            log.warning("%s is skipped: it is too small for scale %d", scene.name, card.scale)
            continue
        scenes.append((product, scene))
    if not scenes:
        raise TrainingError(
            f"no product under data.{part} is large enough and has the bands "
            f"{', '.join(card.bands)}; give other products"
        )
    found = counted(len(scenes), "scene"), counted(len(products), "product")
    log.info("%s: %s of %s", part, *found)
    return scenes


def expand_patterns(patterns: Iterable[str], part: str) -> list[str]:
    """Paths and URLs of products; patterns such as `scenes/*/item.json` are expanded.

    Raises:
        TrainingError: There are none, or a pattern has no match.
    """
    sources: list[str] = []
    for pattern in patterns:
        if "://" in pattern or not any(sign in pattern for sign in "*?["):
            sources.append(pattern)
            continue
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # Path.glob refuses absolute patterns
        if not found:
            raise TrainingError(f"data.{part}: no file matches the pattern '{pattern}'")
        sources += found
    if not sources:
        raise TrainingError(
            f"data.{part} names no product; add some in the recipe or on the command line"
        )
    return sources


def attribution_of(products: Sequence[Product], earlier: str = "") -> str:
    """The attribution of the training data with its years.

    Args:
        products: The training products.
        earlier: Attribution of a model that the training began with, whose years are included.
    """
    years = {product.datetime[:4] for product in products if product.datetime}
    years |= set(re.findall(r"\b\d{4}\b", earlier))
    if not years:
        return ATTRIBUTION
    first, last = min(years), max(years)
    return f"{ATTRIBUTION} {first}" + (f"-{last}" if last != first else "")
