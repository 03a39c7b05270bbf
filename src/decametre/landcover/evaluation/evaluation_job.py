"""Evaluate land-cover models on a split of a store: any number of ranks classify, one scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from decametre.errors import EvaluationError, UnknownNameError
from decametre.io.result_folder import ResultFolder, result_folder
from decametre.landcover.evaluation.output import write_evaluation
from decametre.landcover.evaluation.results import (
    ClassifierScores,
    LandCoverEvaluation,
    score_classifier,
)
from decametre.landcover.metrics.calibration import (
    calibrated,
    calibration_error,
    log_loss,
    temperature_of,
)
from decametre.landcover.metrics.scores import Predictions, merge_predictions
from decametre.landcover.metrics.thresholds import (
    FIXED,
    RULES,
    fixed,
    record,
    tuned,
)
from decametre.landcover.models.card import (
    LandCoverCard,
    LandCoverModel,
    load_land_cover,
    store_thresholds,
)
from decametre.landcover.models.classifier import predict_patches, shard_for_rank, thresholds_of
from decametre.landcover.patches.images import images_of
from decametre.landcover.patches.patch import SPLITS
from decametre.landcover.patches.store import PatchStore
from decametre.progress import Progress
from decametre.training.launcher import read_rank_info
from decametre.training.ranks import Ranks, join_ranks

log = logging.getLogger(__name__)

ALL = "all"
"""Every patch of a store, of any split."""

CARD = "card"
"""The thresholds in a model's card, or 0.5 if it has none."""


@dataclass(frozen=True)
class Request:
    """What is asked for; see `decametre.api.evaluate_land_cover`.

    Attributes:
        store: Of patches.
        models: Folders of models.
        labels: What tables call each, all different.
        split: One of `SPLITS`, or `ALL`.
        thresholds: `CARD`, or one of `multilabel_thresholds.RULES`.
        tune_on: The store whose validation split thresholds and temperature are tuned on.
        calibrate: Tune a temperature.
        keep_thresholds: Write both into the models' cards.
        out: The folder to make, or None.
        overwrite: Replace an earlier evaluation there.
        command: That makes it again.
    """

    store: Path
    models: Sequence[Path]
    labels: Sequence[str]
    split: str
    thresholds: str
    tune_on: Path
    calibrate: bool
    keep_thresholds: bool
    out: Path | None
    overwrite: bool
    command: str


def evaluate(request: Request, device: str, progress: Progress) -> LandCoverEvaluation:
    """Score models; under torchrun or srun all processes classify, and rank 0 writes.

    Args:
        request: What to do.
        device: See `ranks.joined`.
        progress: Called with what this rank does.

    Returns:
        The same on every rank.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    place = read_rank_info()
    try:
        with join_ranks(place, device) as ranks:
            return _evaluate(request, ranks, progress)
    except Exception as error:
        if place.size > 1:
            error.add_note(str(place))
        raise


def _evaluate(request: Request, ranks: Ranks, progress: Progress) -> LandCoverEvaluation:
    rule = request.thresholds
    if rule not in (CARD, *RULES):
        raise UnknownNameError("rule for thresholds", rule, (CARD, *RULES))
    tune = rule not in (CARD, FIXED)
    use_validation = tune or request.calibrate
    if request.keep_thresholds and not use_validation:
        raise EvaluationError(
            "only tuned thresholds are kept in a card; give --thresholds global or per_class, or "
            "--calibrate"
        )
    store = PatchStore(request.store)
    indices = indices_of(store, request.split)
    tuned_on = PatchStore(request.tune_on) if use_validation else store
    tuning = indices_of(tuned_on, "validation") if use_validation else np.empty(0, np.int64)
    check_disjoint(store, indices, tuned_on, tuning)
    models = [load_land_cover(folder) for folder in request.models]
    for path, model in zip(request.models, models, strict=True):
        for given in (store, tuned_on) if use_validation else (store,):
            check_fits(path, model.card, given)
    staged: AbstractContextManager[ResultFolder | None] = nullcontext()
    if ranks.is_first and request.out is not None:
        staged = result_folder(request.out, overwrite=request.overwrite)
    counter = _Counter(
        len(models) * sum(_mine(held, ranks) for held in (indices, tuning)), progress
    )
    with staged as folder:
        scores: list[ClassifierScores] = []
        for label, model in zip(request.labels, models, strict=True):
            chosen = fixed(len(model.card.classes)) if rule == FIXED else thresholds_of(model.card)
            if use_validation:
                validation = classified(model, tuned_on, tuning, ranks, counter)
                if request.calibrate:
                    validation = calibrate(label, model, validation)
                if tune:
                    chosen = tuned(validation, rule)
            predictions = classified(model, store, indices, ranks, counter)
            if ranks.is_first:
                name, checksum = model.card.name, model.card.checksum
                scores.append(score_classifier(label, name, checksum, predictions, chosen))
        evaluation: LandCoverEvaluation | None = None
        if ranks.is_first:
            evaluation = LandCoverEvaluation(
                request.command,
                str(request.store),
                request.split,
                store.nomenclature.name,
                store.class_names,
                tuple(scores),
            )
            if folder:
                write_evaluation(evaluation, folder)
    if ranks.is_first and request.keep_thresholds:
        for path, model, one in zip(request.models, models, scores, strict=True):
            temperature = model.network.temperature if request.calibrate else None
            store_thresholds(path, record(one.thresholds, store.class_names), temperature)
            log.info("%s: its card holds the thresholds", path)
    found: LandCoverEvaluation = ranks.broadcast(evaluation)
    return found


def calibrate(label: str, model: LandCoverModel, validation: Predictions) -> Predictions:
    """Set the network's temperature, and return the predictions with it."""
    factor = temperature_of(validation)
    after = calibrated(validation, factor)
    model.network.temperature *= factor
    log.info(
        "%s: temperature %.3f; on the validation split, log loss %.4f -> %.4f, calibration error "
        "%.4f -> %.4f",
        label,
        model.network.temperature,
        log_loss(validation),
        log_loss(after),
        calibration_error(validation),
        calibration_error(after),
    )
    return after


def classified(
    model: LandCoverModel, store: PatchStore, indices: np.ndarray, ranks: Ranks, counter: _Counter
) -> Predictions:
    """Classify patches on all ranks, each patch once; returns all predictions on every rank."""
    network = model.network.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images_of(model.card.bands_in, store, sharpened=model.card.sharpened)
    mine = predict_patches(
        network,
        store,
        shard_for_rank(indices, ranks.rank, ranks.size),
        images,
        ranks.device,
        counter.of_part(),
    )
    network.cpu()  # several models may not fit on the device together
    return merge_predictions(ranks.gather(mine), len(indices))


def indices_of(store: PatchStore, split: str) -> np.ndarray:
    """Indices of the patches of a split; all patches of a store without splits.

    Raises:
        PatchError: The split has no patch.
        UnknownNameError: There is no such split.
    """
    if split not in (*SPLITS, ALL):
        raise UnknownNameError("split", split, (*SPLITS, ALL))
    if split == ALL or not any(store.splits):
        return np.arange(len(store))
    return store.indices(split)


def check_disjoint(
    store: PatchStore, indices: np.ndarray, other: PatchStore, tuning: np.ndarray
) -> None:
    """Make sure that thresholds are not tuned on patches that are scored.

    Raises:
        EvaluationError: A patch is in both parts.
    """
    both = store.names_at(indices) & other.names_at(tuning)
    if both:
        raise EvaluationError(
            f"{len(both)} patches, {min(both)} among them, would be scored with thresholds that "
            "were tuned on them; give another --split, or another store to --tune-on"
        )


def check_fits(folder: Path, card: LandCoverCard, store: PatchStore) -> None:
    """Make sure that a store has a model's input images and classes.

    Raises:
        EvaluationError: The store has other classes, or in another order.
        PatchError: The store lacks an image.
    """
    if store.class_names != card.classes:
        pairs = zip((*card.classes, "none"), (*store.class_names, "none"), strict=False)
        at, (mine, its) = next((at, pair) for at, pair in enumerate(pairs) if len({*pair}) > 1)
        raise EvaluationError(
            f"{store.path} has {len(store.class_names)} classes ({store.nomenclature.name}), model "
            f"{folder} has {len(card.classes)} ({card.nomenclature}): class {at} is '{its}' in the "
            f"store and '{mine}' in the model; make a store with the model's classes (--classes)"
        )
    images_of(card.bands_in, store, sharpened=card.sharpened)
    made_by = str(card.training.get("sharpened_by", ""))
    if card.sharpened and made_by != store.model:
        log.warning(
            "model %s was trained on images sharpened by %s; those of %s are by %s",
            folder,
            made_by or "unknown models",
            store.path,
            store.model,
        )


def _mine(indices: np.ndarray, ranks: Ranks) -> int:
    return len(shard_for_rank(indices, ranks.rank, ranks.size))


class _Counter:
    """Counts the patches that this rank has classified, over all models."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress, self.done = total, progress, 0
        progress(0, total, 0)

    def of_part(self) -> Callable[[int], None]:
        """A counter that continues from here."""
        before = self.done

        def count(done: int) -> None:
            self.done = before + done
            self.progress(self.done, self.total, self.done)

        return count
