"""Losses for patches with several labels, summed over labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

EFFECTIVE_NUMBER_BETA = 0.9999
"""beta of the effective number of samples (Cui et al. 2019), as they use for large data sets."""


@dataclass(frozen=True)
class FocalParameters:
    """Weights of easy labels: cross-entropy times (1 - p)^gamma, p the probability of the truth.

    Attributes:
        positive: gamma for classes that a patch has.
        negative: gamma for classes that a patch does not have.
        margin: Probability below which a class that a patch does not have costs nothing.
    """

    positive: float = 0.0
    negative: float = 0.0
    margin: float = 0.0


FOCAL_PARAMETERS = {
    "bce": FocalParameters(),
    # Defaults of the authors: Lin et al. 2017 (without alpha), and Ridnik et al. 2021.
    "focal": FocalParameters(2.0, 2.0),
    "asymmetric": FocalParameters(0.0, 4.0, 0.05),
}


def loss_sum(
    logits: Tensor, targets: Tensor, focal: FocalParameters, weights: Tensor | None
) -> Tensor:
    """The sum of the labels' losses.

    Args:
        logits: (patches, classes).
        targets: 0 or 1, (patches, classes); values between for mixed patches.
        focal: See `FocalParameters`.
        weights: Weights of the classes, (classes,); all 1 by default.
    """
    if focal == FocalParameters():
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    else:
        present = logits.sigmoid()
        absent = (1 - present + focal.margin).clamp(max=1)
        of_present = F.logsigmoid(logits) * (1 - present) ** focal.positive
        log_absent = F.logsigmoid(-logits) if not focal.margin else absent.log()
        of_absent = log_absent * (1 - absent) ** focal.negative
        losses = -(targets * of_present + (1 - targets) * of_absent)
    return (losses if weights is None else losses * weights).sum()


def class_weights(
    support: np.ndarray, samples: int, rule: Literal["none", "inverse", "effective"]
) -> Tensor | None:
    """Weights of the classes, with mean 1 over the classes that occur.

    Args:
        support: Number of patches of each class, (classes,).
        samples: Number of patches.
        rule: `inverse`: samples / support. `effective`: (1 - beta) / (1 - beta^support).

    Returns:
        float32, (classes,); 1 for a class that does not occur. None for the rule `none`.
    """
    if rule == "none":
        return None
    known = support > 0
    count = np.where(known, support, 1).astype(np.float64)
    raw = (
        samples / count
        if rule == "inverse"
        else (1 - EFFECTIVE_NUMBER_BETA) / (1 - EFFECTIVE_NUMBER_BETA**count)
    )
    return torch.from_numpy(np.where(known, raw / raw[known].mean(), 1.0)).float()
