"""The land-cover task: patches with several labels each, F1 on validation patches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from decametre.device import autocast, precision_name
from decametre.errors import TrainingError
from decametre.landcover.metrics.scores import count, f1, merge_predictions
from decametre.landcover.metrics.thresholds import fixed
from decametre.landcover.models.card import (
    LandCoverCard,
    LandCoverModel,
    build_land_cover,
    load_land_cover,
    save_land_cover,
)
from decametre.landcover.models.classifier import BATCH, predict_patches, shard_for_rank
from decametre.landcover.models.pretrained import Loaded, load_pretrained
from decametre.landcover.patches.images import Images, bands_of, chosen_images
from decametre.landcover.patches.store import PatchStore
from decametre.landcover.training.loss import FOCAL_PARAMETERS, class_weights, loss_sum
from decametre.landcover.training.recipe import LandCoverRecipe
from decametre.landcover.training.samples import LandCoverBatch, LandCoverSamples, read_batch
from decametre.model_folder import ATTRIBUTION
from decametre.training.batch_norm import synchronised_norms
from decametre.training.model_record import (
    check_same_network,
    init_provenance,
    now,
    training_record,
)
from decametre.training.order import EpochOrder, SampleOrder
from decametre.training.prefetching import prefetch_batches
from decametre.training.ranks import Ranks
from decametre.training.task import RankSamples, Validation

log = logging.getLogger(__name__)

STATISTICS_PATCHES = 2048
"""Number of evenly spread patches from which mean and deviation of the bands are computed."""


class LandCover:
    """Classifies patches.

    Args:
        recipe: The recipe of the run.
        init: Folder of a model whose weights the network starts with; random by default.
        device: Device for training.
        precision: `torch.float32`, or `torch.bfloat16` for autocast.

    Raises:
        PatchError: A store cannot be read.
        ModelError: The recipe's network cannot be built, or `init` has another network.
        TrainingError: There are no training or no validation data.
    """

    def __init__(
        self,
        recipe: LandCoverRecipe,
        init: str | None,
        device: torch.device,
        precision: torch.dtype,
    ) -> None:
        self.recipe, self.device, self.precision = recipe, device, precision
        data, settings = recipe.data, recipe.network
        self.store, places = open_part(data.train, "train")
        self.held_out, self.held_places = open_part(data.validation, "validation")
        check_same_classes(self.store, self.held_out)
        check_no_overlap(self.store, places, self.held_out, self.held_places)
        sharpened = settings.upsampling == "super-resolution"
        self.images = chosen_images(settings.bands, self.store, sharpened=sharpened)
        chosen_images(settings.bands, self.held_out, sharpened=sharpened)
        self.card = LandCoverCard(
            name=recipe.name,
            architecture=settings.backbone,
            config=settings.config,
            norm=settings.norm,
            bands_in=bands_of(self.images),
            sharpened=sharpened,
            nomenclature=self.store.nomenclature.name,
            classes=self.store.class_names,
        )
        torch.manual_seed(recipe.seed)
        if init is not None and settings.pretrained is not None:
            raise TrainingError(
                "both --init and network.pretrained state with which weights to start; give one"
            )
        pretrained: Loaded | None = None
        if init is None:
            network = build_land_cover(self.card)
            if settings.pretrained is not None:
                pretrained = load_pretrained(network, settings.pretrained)
                log.info("%s", pretrained.text)
            mean, deviation = band_statistics(self.store, places, self.images)
            network.mean.copy_(mean[network.order])
            network.deviation.copy_(deviation[network.order])
            self.init: LandCoverCard | None = None
        else:
            model = load_initial_model(init, self.card)
            network, self.init = model.network, model.card
            network.temperature = self.card.temperature
        self.network = network.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.samples = LandCoverSamples(
            self.store,
            places,
            self.images,
            recipe.seed,
            data.turn,
            data.mixup,
            settings.dropout,
            network.features,
        )
        optimization = recipe.optimization
        weights = class_weights(
            self.store.labels[places].sum(0), len(places), optimization.class_weights
        )
        self.focal, self.weights = FOCAL_PARAMETERS[optimization.loss], None
        if weights is not None:
            self.weights = weights.to(device)
        epochs = EpochOrder(len(places), optimization.batch, recipe.seed)
        self.order: SampleOrder = epochs
        self.steps = optimization.epochs * epochs.steps
        self.validate_every = recipe.validate_every * epochs.steps
        self.extra_inputs = {
            "precision": precision_name(precision),
            "init": init_provenance(self.init),
            "pretrained": pretrained and {"name": pretrained.source, "sha256": pretrained.checksum},
            # Names instead of paths, which differ between machines.
            "train": _describe_part(self.store, places),
            "validation": _describe_part(self.held_out, self.held_places),
        }
        log.info(
            "%d training and %d validation patches, %d classes; %d steps an epoch",
            len(places),
            len(self.held_places),
            len(self.card.classes),
            epochs.steps,
        )

    def batches(self, first: int, end: int, parts: RankSamples) -> Iterator[list[LandCoverBatch]]:
        """See `Task.batches`; the recipe's workers read the patches."""
        # With synchronised norms all ranks must run the network, even on an empty batch.
        least: list[Sequence[int]] = [[]] if synchronised_norms(self.network) else []
        return prefetch_batches(
            self.samples,
            _identity,
            first,
            end,
            lambda step: parts(step) or least,
            workers=self.recipe.data.workers,
            pin_memory=self.device.type == "cuda",
        )

    def count(self, batch: LandCoverBatch) -> int:
        """Number of labels: one for each class of each sample."""
        return len(batch) * len(self.card.classes)

    def loss(self, network: nn.Module, batch: LandCoverBatch) -> Tensor:
        """Sum of the losses of all labels."""
        dtype = next(network.parameters()).dtype
        with autocast(self.device, self.precision):
            images = batch.images(self.device, dtype)
            logits = network(images, batch.factors(self.device, dtype))
        targets = batch.targets(self.device, dtype)
        weights = None if self.weights is None else self.weights.to(dtype)
        return loss_sum(logits.to(dtype), targets, self.focal, weights)

    def validate(self, network: nn.Module, ranks: Ranks) -> Validation:
        """1 - micro F1 of the validation patches, each of which is classified by one rank."""
        mine = predict_patches(
            network,
            self.held_out,
            shard_for_rank(self.held_places, ranks.rank, ranks.size),
            self.images,
            self.device,
        )
        predictions = merge_predictions(ranks.gather(mine), len(self.held_places))
        found = f1(count(predictions, fixed(len(self.card.classes)).values))
        record = {f"{average}_f1": round(value, 5) for average, value in found.items()}
        return Validation(1 - found["micro"], record, None)

    def save(self, folder: Path, network: nn.Module, validation: Validation, step: int) -> None:
        """Write a model folder. The card contains the training inputs and the scores."""
        data = {
            "patches": self.order.count if isinstance(self.order, EpochOrder) else 0,
            "sharpened_by": self.store.model,
        }
        training = training_record(self.recipe, step, self.extra_inputs, data)
        save_land_cover(
            folder,
            replace(
                self.card,
                training=training,
                scores={"split": "validation", "threshold": 0.5, **validation.record},
                datetime=now(),
                attribution=self.store.header.attribution or ATTRIBUTION,
            ),
            network,
        )


def open_part(paths: Sequence[str], part: str) -> tuple[PatchStore, np.ndarray]:
    """Open the store of one part of the recipe's data, and find the indices of its patches.

    Raises:
        TrainingError: There is not exactly one store, or it has no patch of this part.
    """
    if len(paths) != 1:
        raise TrainingError(
            f"data.{part} names {len(paths)} stores of patches, not one; merge them with "
            "`decametre patches merge`"
        )
    store = PatchStore(paths[0])
    places = np.flatnonzero([split in (part, "") for split in store.splits])
    if not len(places):
        there = ", ".join(sorted(set(store.splits)))
        raise TrainingError(
            f"data.{part}: {store.path} has no patches of split {part}, only of {there}"
        )
    return store, places


def check_same_classes(store: PatchStore, other: PatchStore) -> None:
    """Check that two stores have the same classes.

    Raises:
        TrainingError: The classes differ.
    """
    if store.class_names != other.class_names:
        raise TrainingError(
            f"{store.path} has {len(store.class_names)} classes ({store.nomenclature.name}), "
            f"{other.path} has {len(other.class_names)} ({other.nomenclature.name}); make both "
            "with the same nomenclature"
        )


def check_no_overlap(
    store: PatchStore, places: np.ndarray, other: PatchStore, others: np.ndarray
) -> None:
    """Check that no patch is used for both training and validation.

    Raises:
        TrainingError: A patch is in both parts.
    """
    both = store.names_at(places) & other.names_at(others)
    if both:
        raise TrainingError(
            f"{len(both)} patches, such as {min(both)}, are in both training and validation; use "
            "stores with splits, or different stores"
        )


def band_statistics(
    store: PatchStore, places: np.ndarray, images: Sequence[Images]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the reflectance of each band, over pixels with data.

    Args:
        store: The patches.
        places: Indices of the training patches, of which up to `STATISTICS_PATCHES` are read.
        images: The images whose bands are measured.

    Returns:
        Mean and standard deviation, float32, (bands,), in the order of the images' bands.
    """
    chosen = places[
        np.linspace(0, len(places) - 1, min(len(places), STATISTICS_PATCHES)).astype(int)
    ]
    bands = sum(len(image.channels) for image in images)
    number, total, squares = (torch.zeros(bands, dtype=torch.float64) for _ in range(3))
    for begin in range(0, len(chosen), BATCH):
        batch = read_batch(store, chosen[begin : begin + BATCH], images)
        found = batch.images(torch.device("cpu"), torch.float64)
        at = 0
        for image in images:
            rows = slice(at, at + len(image.channels))
            at = rows.stop
            measured = batch.dn[image.gsd] != 0
            values = found[image.gsd] * measured
            number[rows] += measured.sum((0, 2, 3))
            total[rows] += values.sum((0, 2, 3))
            squares[rows] += values.square().sum((0, 2, 3))
    number = number.clamp(min=1)
    mean = total / number
    deviation = (squares / number - mean.square()).clamp(min=0).sqrt()
    return mean.float(), torch.where(deviation > 0, deviation, 1.0).float()


def load_initial_model(folder: str, card: LandCoverCard) -> LandCoverModel:
    """Load the model whose weights the network starts with.

    Raises:
        ModelError: It cannot be loaded, or has another network than the recipe.
    """
    model = load_land_cover(Path(folder))
    check_same_network(
        folder,
        model.card,
        card,
        ("architecture", "config", "norm", "bands_in", "sharpened", "classes", "resampling"),
    )
    return model


def _identity(batch: LandCoverBatch) -> LandCoverBatch:
    return batch


def _describe_part(store: PatchStore, places: np.ndarray) -> list[Any]:
    """Number of patches, first and last name, to recognise a part of a store."""
    return [len(places), store.names[places[0]], store.names[places[-1]]]
