"""The super-resolution task: degraded pairs, masked errors, RMSE on validation scenes."""

from __future__ import annotations

import glob
import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decametre.device import autocast, precision_name
from decametre.errors import TrainingError
from decametre.model_folder import ATTRIBUTION
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product
from decametre.superres.degradation.degraded_scene import DegradedPair, degrade_scene, stack_pairs
from decametre.superres.degradation.training_kernels import (
    MeasuredTrainingKernels,
    TrainingKernels,
)
from decametre.superres.degradation.training_patches import TrainingPatches
from decametre.superres.evaluation.degraded import SceneScore, mean_ratio, score
from decametre.superres.models.adaptive import AdaptiveTrunk
from decametre.superres.models.card import Card
from decametre.superres.models.prediction import predict, predict_bicubic
from decametre.superres.models.registry import (
    BANDS_FOR_SCALE,
    Model,
    build,
    families,
    load_model,
    save_model,
)
from decametre.superres.pixels.scenes import Scene, load_scenes
from decametre.superres.sharpening.quicklook import stretch, to_bytes
from decametre.superres.training.recipe import SuperResolutionRecipe
from decametre.text import counted
from decametre.training.model_record import (
    check_same_network,
    init_provenance,
    now,
    training_record,
)
from decametre.training.order import EndlessOrder, SampleOrder
from decametre.training.prefetching import prefetch_batches
from decametre.training.ranks import Ranks
from decametre.training.task import RankSamples, Validation

log = logging.getLogger(__name__)

PICTURE_EDGE = 120
"""Edge of a panel of the validation picture, in pixels of the coarsest native grid."""

CHARBONNIER_EPSILON = 1e-3
"""The loss of errors below this reflectance is less than proportional."""

RELATIVE_FLOOR = 1e-3
"""Added to the error of bicubic interpolation in the relative loss, in reflectance."""


class SuperResolution:
    """Training of networks on degraded scenes.

    Args:
        recipe: The recipe of the run.
        init: Name or folder of a model whose weights the network starts with; random by default.
        device: Device for training.
        precision: `torch.float32`, or `torch.bfloat16` for autocast.

    Raises:
        ModelError: The recipe's network cannot be built, or `init` has another network.
        TrainingError: There are no training or no validation data.
    """

    def __init__(
        self,
        recipe: SuperResolutionRecipe,
        init: str | None,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.recipe, self.device, self.precision = recipe, device, precision
        self.order: SampleOrder = EndlessOrder(recipe.optimization.batch)
        self.steps, self.validate_every = recipe.optimization.steps, recipe.validate_every
        self.card = build_card(recipe)
        torch.manual_seed(recipe.seed)
        model = (
            Model(self.card, build(self.card))
            if init is None
            else load_initial_model(init, self.card)
        )
        self.init = None if init is None else model.card
        if not any(weights.requires_grad for weights in model.network.parameters()):
            raise TrainingError(
                f"network.architecture {self.card.architecture} has no weights to train; "
                "choose another"
            )
        self.network = model.network.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        data = recipe.data
        if data.patch % self.card.alignment:
            raise TrainingError(
                f"data.patch {data.patch} is not a multiple of {self.card.alignment}, the edge of "
                "the network's attention windows"
            )
        bands_in, scale = self.card.bands_in, self.card.scale
        scenes = self._read(data.train, "train")
        self.products = list({product.id: product for product, _ in scenes}.values())
        if not any(scene.valid[self.card.coarsest].any() for _, scene in scenes):
            raise TrainingError(
                "no product under data.train has a measured pixel; give other products"
            )
        ground = [scene for _, scene in scenes]
        if isinstance(model.network, AdaptiveTrunk):
            kernels: TrainingKernels = MeasuredTrainingKernels(
                data.kernels,
                bands_in,
                data.nyquist_gains,
                model.network.typical_gains,
                ground,
                recipe.seed,
            )
        else:
            kernels = TrainingKernels(data.kernels, bands_in, data.nyquist_gains)
        self.patches = TrainingPatches(
            ground,
            kernels,
            data.patch,
            data.gain,
            recipe.seed,
            data.mixing,
            data.min_measured,
        )
        validation = self._read(data.validation, "validation")
        known = {product.id for product in self.products}
        for name in sorted({product.id for product, _ in validation if product.id in known}):
            log.warning("%s is in both training and validation: its score is too good", name)
        self.extra_inputs = {
            "precision": precision_name(precision),
            "init": init_provenance(self.init),
            "train": [scene.name for _, scene in scenes],
            "validation": [scene.name for _, scene in validation],
        }
        self.held_out = [
            (kernel, degraded)
            for kernel in data.validation_kernels
            for _, scene in validation
            if (degraded := degrade_scene(scene, kernel, bands_in)).full_pair().mask.any()
        ]
        if not self.held_out:
            raise TrainingError(
                f"no product under data.validation has a pixel to score at scale {scale}: "
                "they are too small or have too many gaps; give other products"
            )

    def _read(self, patterns: Sequence[str], part: str) -> list[tuple[Product, Scene]]:
        """Read the products of one part of the recipe's data."""
        data, card = self.recipe.data, self.card
        products, lacking = [], []
        sources = expand_patterns(patterns, part)
        for product in map(open_product, sources):
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

    def batches(self, first: int, end: int, parts: RankSamples) -> Iterator[list[DegradedPair]]:
        """See `Task.batches`; the recipe's workers compute the patches."""
        return prefetch_batches(
            self.patches,
            stack_pairs,
            first,
            end,
            parts,
            workers=self.recipe.data.workers,
            pin_memory=self.device.type == "cuda",
        )

    def count(self, batch: DegradedPair) -> int:
        """Number of pixels in the mask."""
        return int(batch.mask.sum())

    def loss(self, network: nn.Module, batch: DegradedPair) -> Tensor:
        """Sum of the losses over the mask."""
        batch = batch.to(self.device)
        # Only networks that adapt to blur have gains.
        gains = () if batch.gains is None else (batch.gains,)
        with autocast(self.device, self.precision):
            predicted = network(batch.inputs, batch.measured, *gains)
        errors = predicted.float() - batch.target
        if self.recipe.optimization.loss == "charbonnier":
            costs = (errors.square() + CHARBONNIER_EPSILON**2).sqrt()
        else:
            costs = errors.abs()
        if self.recipe.optimization.loss == "relative":
            costs = costs / (mean_bicubic_errors(batch) + RELATIVE_FLOOR)
        return (costs * batch.mask).sum()

    def validate(self, network: nn.Module, ranks: Ranks) -> Validation:
        """RMSE on the validation scenes, averaged over bands and scenes, over that of bicubic.

        The score is the mean over the recipe's validation kernels. The scenes are sharded among
        the ranks.
        """
        margin, alignment = self.card.margin, self.card.alignment
        scenes = [degraded for _, degraded in self.held_out]
        mine = score(network, margin, scenes[ranks.rank :: ranks.size], alignment)
        of_ranks = ranks.gather(mine)
        scores: dict[str, list[SceneScore]] = {}
        for index, (kernel, _) in enumerate(self.held_out):
            scene_score = of_ranks[index % ranks.size][index // ranks.size]
            scores.setdefault(kernel, []).append(scene_score)
        ratios = {kernel: mean_ratio(of_kernel) for kernel, of_kernel in scores.items()}
        ratio = sum(ratios.values()) / len(ratios)
        record = {
            "rmse_ratio_to_bicubic": round(ratio, 5),
            "of_kernels": {kernel: round(value, 5) for kernel, value in ratios.items()},
            "scenes": {kernel: scores_by_scene(of_kernel) for kernel, of_kernel in scores.items()},
        }
        return Validation(ratio, record, self._picture(network) if ranks.is_first else None)

    def _picture(self, network: nn.Module) -> np.ndarray:
        """Truth, bicubic and network side by side, in the middle of the first validation scene."""
        _, scene = self.held_out[0]
        rows, cols = (min(PICTURE_EDGE, s) // scene.scale * scene.scale for s in scene.shape)
        row, col = (scene.shape[0] - rows) // 2, (scene.shape[1] - cols) // 2
        pair = scene.pair(row, col, rows, cols)
        start = predict_bicubic(pair.inputs)
        card = self.card
        result = predict(network, pair.inputs, card.margin, card.alignment, measured=pair.measured)
        # At 2x: short-wave infrared, near infrared and red edge.
        shown = [-1, len(self.card.bands_out) // 2, 0]
        panels = [image[0, shown].cpu().numpy() for image in (pair.target, start, result)]
        low, high = stretch(panels[0])
        drawn = np.concatenate([to_bytes(panel, low, high) for panel in panels], axis=2)
        return np.ascontiguousarray(drawn.transpose(1, 2, 0))

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """Write a model folder. The card contains the training inputs and the scores."""
        data = {"products": [product.id for product in self.products]}
        training = training_record(self.recipe, step, self.extra_inputs, data)
        save_model(
            folder,
            replace(
                self.card,
                training=training,
                scores={
                    "protocol": "Wald, kernels "
                    f"{' and '.join(self.recipe.data.validation_kernels)}, "
                    f"scale {self.card.scale}, masked",
                    "split": "validation",
                    **validation.record,
                },
                datetime=now(),
                attribution=attribution_of(self.products, self.init),
            ),
            network,
        )


def mean_bicubic_errors(batch: DegradedPair) -> Tensor:
    """Mean absolute error of bicubic interpolation for each patch and band.

    Returns:
        (batch, bands, 1, 1), reflectance.
    """
    errors = (predict_bicubic(batch.inputs) - batch.target).abs() * batch.mask
    counts = batch.mask.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    return errors.sum(dim=(2, 3), keepdim=True) / counts


def build_card(recipe: SuperResolutionRecipe) -> Card:
    """The card of a recipe's network, before training.

    Raises:
        ModelError: The network cannot be built.
    """
    settings = recipe.network
    card = Card(
        recipe.name,
        settings.architecture,
        settings.config,
        BANDS_FOR_SCALE[settings.scale],
        margin=0,
        projection=settings.projection,
    )
    network = build(card)
    return replace(card, margin=int(network.margin), alignment=int(network.alignment))  # type: ignore[arg-type]


def attribution_of(products: Iterable[Product], init: Card | None) -> str:
    """The attribution of the training data with its years, including those of `init`."""
    years = {product.datetime[:4] for product in products if product.datetime}
    if init is not None:
        years |= set(re.findall(r"\b\d{4}\b", init.attribution))
    if not years:
        return ATTRIBUTION
    first, last = min(years), max(years)
    return f"{ATTRIBUTION} {first}" + (f"-{last}" if last != first else "")


def load_initial_model(name: str, card: Card) -> Model:
    """Load the model whose weights the network starts with.

    Args:
        name: Name of a shipped model or of a family of models, or a model folder.
        card: Card of the recipe's network.

    Raises:
        UnknownNameError: There is no such model.
        ModelError: It cannot be loaded, or has another network than the recipe.
    """
    members = families().get(name, [name])
    model = load_model(next((m for m in members if m.endswith(f"{card.scale}x")), members[0]))
    check_same_network(name, model.card, card, ("architecture", "config", "bands_in", "projection"))
    return model


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


def scores_by_scene(scores: Iterable[SceneScore]) -> dict[str, Any]:
    """Scores for the log and the card; None for a band without scored pixels."""

    def rounded(values: Iterable[float]) -> list[float | None]:
        return [round(v, 2) if math.isfinite(v) else None for v in values]

    return {
        s.scene: {
            "ratio": round(s.ratio, 4) if math.isfinite(s.ratio) else None,
            "rmse_dn": rounded(s.rmse),
            "bicubic_rmse_dn": rounded(s.rmse_bicubic),
        }
        for s in scores
    }
