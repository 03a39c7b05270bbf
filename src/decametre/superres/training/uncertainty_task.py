"""The uncertainty task: a network learns how large the errors of a trained model are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from decametre.device import autocast, precision_name
from decametre.errors import TrainingError
from decametre.model_folder import save_model
from decametre.superres.degradation.degraded_scene import DegradedPair
from decametre.superres.models.prediction import predict
from decametre.superres.models.registry import load_model
from decametre.superres.models.uncertainty import (
    LEVELS,
    UncertaintyCard,
    UncertaintyTrunk,
    build_uncertainty,
)
from decametre.superres.training.degraded_data import (
    DegradedData,
    DegradedTask,
    attribution_of,
)
from decametre.superres.training.recipe import UncertaintyRecipe
from decametre.training.model_record import now, training_record
from decametre.training.order import EndlessOrder, SampleOrder
from decametre.training.ranks import Ranks
from decametre.training.task import Validation

SHARES = (np.arange(200) + 0.5) / 200
"""Quantiles of a scene's errors that are recorded, as shares of its pixels."""


class UncertaintyTraining(DegradedTask):
    """Training of a network that predicts the uncertainty of a model.

    Args:
        recipe: The recipe of the run.
        init: Must be None: the network starts with random weights.
        device: Device for training.
        precision: `torch.float32`, or `torch.bfloat16` for autocast.

    Raises:
        UnknownNameError: There is no model of the recipe's name.
        ModelError: The model cannot be loaded, or the network not be built.
        TrainingError: There are no training or no validation data, or an initial model is given.
    """

    def __init__(
        self,
        recipe: UncertaintyRecipe,
        init: str | None,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        if init is not None:
            raise TrainingError(
                f"--init {init}: training of an uncertainty starts with random weights; remove it"
            )
        self.recipe, self.device, self.precision = recipe, device, precision
        self.order: SampleOrder = EndlessOrder(recipe.optimization.batch)
        self.steps, self.validate_every = recipe.optimization.steps, recipe.validate_every
        self.model = load_model(recipe.network.model)
        of = self.model.card
        self.card = UncertaintyCard(
            recipe.name,
            UncertaintyTrunk.__name__,
            recipe.network.config,
            of.bands_in,
            of=of.name,
            of_checksum=of.checksum,
            factors={},
        )
        torch.manual_seed(recipe.seed)
        self.network: nn.Module = (
            build_uncertainty(self.card).train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        )
        self.data = DegradedData(recipe.data, of, self.model.network, recipe.seed)
        self.extra_inputs: dict[str, Any] = {
            "precision": precision_name(precision),
            "init": None,
            "of": {"name": of.name, "checksum": of.checksum},
            "train": self.data.train,
            "validation": self.data.validation,
        }
        # The validation scenes, each with the model's result.
        self.held_out = []
        for _, scene in self.data.held_out:
            pair = scene.full_pair()
            image = predict(
                self.model.network, pair.inputs, of.margin, of.alignment, measured=pair.measured
            )
            self.held_out.append((pair, image))
        self.model.network.to(device)

    def loss(self, network: nn.Module, batch: DegradedPair) -> Tensor:
        """Negative logarithm of the likelihood of the model's errors, summed over the mask."""
        batch = batch.to(self.device)
        gains = () if batch.gains is None else (batch.gains,)
        with autocast(self.device, self.precision):
            with torch.no_grad():
                image = self.model.network(batch.inputs, batch.measured, *gains)
            scale = network(batch.inputs, image)
        return (negative_log_likelihood(image.float() - batch.target, scale) * batch.mask).sum()

    @torch.inference_mode()
    def validate(self, network: nn.Module, ranks: Ranks) -> Validation:
        """Negative logarithm of the likelihood, and the factors of the card.

        All are means over the validation scenes and kernels. The scenes are sharded among the
        ranks.
        """
        mine = []
        for pair, image in self.held_out[ranks.rank :: ranks.size]:
            inputs = {gsd: x.to(self.device) for gsd, x in pair.inputs.items()}
            scale = network(inputs, image.to(self.device)).cpu()
            mine.append(scene_record(image - pair.target, scale, pair.mask))
        of_scenes = [record for records in ranks.gather(mine) for record in records]
        score = float(np.mean([record.cost for record in of_scenes]))
        factors = {
            band: factors_of([record.bands[index] for record in of_scenes])
            for index, band in enumerate(self.model.card.bands_out)
        }
        record = {"negative_log_likelihood": round(score, 5), "factors": factors}
        return Validation(score, record, None)

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """Write a model folder."""
        products = self.data.products
        data = {"products": [product.id for product in products]}
        scores = {"split": "validation", **validation.record}
        card = replace(
            self.card,
            factors=scores.pop("factors"),
            training=training_record(self.recipe, step, self.extra_inputs, data),
            scores=scores,
            datetime=now(),
            attribution=attribution_of(products, self.model.card.attribution),
            parameters=sum(tensor.numel() for tensor in network.state_dict().values()),
        )
        save_model(folder, card, network)


def negative_log_likelihood(errors: Tensor, scale: Tensor) -> Tensor:
    """Negative logarithm of the likelihood under a Laplace distribution, without the constant.

    Args:
        errors: Of any shape.
        scale: Scale of the distribution, above 0, in the unit of the errors.
    """
    return scale.log() + errors.abs() / scale


class SceneRecord(NamedTuple):
    """How well the scale describes the errors in one scene.

    Attributes:
        cost: Mean of `negative_log_likelihood` over the scored pixels.
        bands: For each band, the mean square of errors divided by the scale, and the quantiles of
            their absolute values at `SHARES`; None for a band without scored pixels.
    """

    cost: float
    bands: list[tuple[float, np.ndarray] | None]


def scene_record(errors: Tensor, scale: Tensor, mask: Tensor) -> SceneRecord:
    """Compare errors with the scale.

    Args:
        errors: (1, bands, rows, columns), reflectance.
        scale: The network's output, the shape of `errors`.
        mask: Likewise, True for scored pixels.
    """
    bands: list[tuple[float, np.ndarray] | None] = []
    for relative, kept in zip((errors / scale)[0], mask[0], strict=True):
        values = relative[kept].abs().double().numpy()
        bands.append(
            (float((values**2).mean()), np.quantile(values, SHARES)) if values.size else None
        )
    mean = (negative_log_likelihood(errors, scale) * mask).sum() / mask.sum()
    return SceneRecord(float(mean), bands)


def factors_of(records: Sequence[tuple[float, np.ndarray] | None]) -> dict[str, float]:
    """The factors of one band, see `UncertaintyCard`, for which all scenes count equally.

    Args:
        records: The band's entry in each `SceneRecord`.

    Raises:
        TrainingError: No scene has a scored pixel of the band.
    """
    known = [record for record in records if record is not None]
    if not known:
        raise TrainingError(
            "no product under data.validation has a pixel to score in one of the bands; give others"
        )
    deviation = float(np.sqrt(np.mean([square for square, _ in known])))
    pooled = np.concatenate([quantiles for _, quantiles in known])
    intervals = np.quantile(pooled, np.array(LEVELS) / 100)
    keys = ["deviation", *map(str, LEVELS)]
    return dict(zip(keys, np.round([deviation, *intervals], 4).tolist(), strict=True))
