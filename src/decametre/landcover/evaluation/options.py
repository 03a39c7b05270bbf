"""The options of evaluating land-cover models."""

from __future__ import annotations

from typing import Annotated, Literal

from decametre.options import Device, FilePath, FilePaths, Options, Overwrite, ReportFolder, Text


class LandCoverEvaluateOptions(Options):
    """How land-cover models are evaluated."""

    model: Annotated[FilePaths, Text(metavar="FOLDER")]
    """Folder of a land-cover model."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """Which patches are classified; all in a store without splits."""
    thresholds: Literal["card", "fixed", "global", "per_class"] = "card"
    """card: those of the model's card, 0.5 where it has none. fixed: 0.5. global, per_class: one
    for all classes, or one for each, tuned on a validation split."""
    tune_on: Annotated[FilePath | None, Text(metavar="STORE.h5", default="the same store")] = None
    """Store with the validation split on which thresholds and temperature are tuned."""
    calibrate: bool = False
    """Divide the logits by a temperature, tuned on the validation split, so that a probability of
    0.8 is right in 8 of 10 cases (Guo et al. 2017). Ranks, and so average precision, remain."""
    keep_thresholds: bool = False
    """Write tuned thresholds, and the temperature of `calibrate`, to the cards of the models."""
    device: Device = "auto"
    out: ReportFolder = None
    overwrite: Overwrite = False
