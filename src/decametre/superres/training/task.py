"""The super-resolution task: degraded pairs, masked errors, RMSE on validation scenes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decametre.device import autocast, precision_name
from decametre.errors import TrainingError
from decametre.superres.degradation.degraded_scene import DegradedPair
from decametre.superres.evaluation.degraded import SceneScore, mean_ratio, score
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
from decametre.superres.sharpening.quicklook import stretch, to_bytes
from decametre.superres.training.degraded_data import (
    DegradedData,
    DegradedTask,
    attribution_of,
)
from decametre.superres.training.recipe import SuperResolutionRecipe
from decametre.training.model_record import (
    check_same_network,
    init_provenance,
    now,
    training_record,
)
from decametre.training.order import EndlessOrder, SampleOrder
from decametre.training.ranks import Ranks
from decametre.training.task import Validation

log = logging.getLogger(__name__)

PICTURE_EDGE = 120
"""Edge of a panel of the validation picture, in pixels of the coarsest native grid."""

CHARBONNIER_EPSILON = 1e-3
"""The loss of errors below this reflectance is less than proportional."""

RELATIVE_FLOOR = 1e-3
"""Added to the error of bicubic interpolation in the relative loss, in reflectance."""


class SuperResolution(DegradedTask):
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
        if recipe.data.patch % self.card.alignment:
            raise TrainingError(
                f"data.patch {recipe.data.patch} is not a multiple of {self.card.alignment}, the "
                "edge of the network's attention windows"
            )
        self.data = DegradedData(recipe.data, self.card, model.network, recipe.seed)
        self.extra_inputs = {
            "precision": precision_name(precision),
            "init": init_provenance(self.init),
            "train": self.data.train,
            "validation": self.data.validation,
        }

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
        scenes = [degraded for _, degraded in self.data.held_out]
        mine = score(network, margin, scenes[ranks.rank :: ranks.size], alignment)
        of_ranks = ranks.gather(mine)
        scores: dict[str, list[SceneScore]] = {}
        for index, (kernel, _) in enumerate(self.data.held_out):
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
        _, scene = self.data.held_out[0]
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
        data = {"products": [product.id for product in self.data.products]}
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
                attribution=attribution_of(
                    self.data.products, self.init.attribution if self.init else ""
                ),
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
