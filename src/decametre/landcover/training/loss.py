"""Losses of several labels a patch, summed over labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

EFFECTIVE_NUMBER_BETA = 0.9999
"""Of the effective number of samples (Cui et al. 2019); their choice for the largest data sets."""


@dataclass(frozen=True)
class FocalParameters:
    """How much easy labels count: the cross-entropy times (1 - p)^gamma, p that of the truth.

    Attributes:
        positive: gamma of the classes that a patch has.
        negative: gamma of those it has not.
        margin: Probabilities of these below it cost nothing.
    """

    positive: float = 0.0
    negative: float = 0.0
    margin: float = 0.0


FOCAL_PARAMETERS = {
    "bce": FocalParameters(),
    # The authors' defaults: Lin et al. 2017 (without their alpha), and Ridnik et al. 2021.
    "focal": FocalParameters(2.0, 2.0),
    "asymmetric": FocalParameters(0.0, 4.0, 0.05),
}


def loss_sum(
    logits: Tensor, targets: Tensor, focus: FocalParameters, weights: Tensor | None
) -> Tensor:
    """The sum of the labels' losses.

    Args:
        logits: (patches, classes).
        targets: 0 to 1, (patches, classes); between where patches are mixed.
        focus: See `FocalParameters`.
        weights: Of the classes, (classes,); all 1 without.
    """
    if focus == FocalParameters():
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    else:
        present = logits.sigmoid()
        absent = (1 - present + focus.margin).clamp(max=1)
        of_present = F.logsigmoid(logits) * (1 - present) ** focus.positive
        log_absent = F.logsigmoid(-logits) if not focus.margin else absent.log()
        of_absent = log_absent * (1 - absent) ** focus.negative
        losses = -(targets * of_present + (1 - targets) * of_absent)
    return (losses if weights is None else losses * weights).sum()


def class_weights(
    support: np.ndarray, samples: int, rule: Literal["none", "inverse", "effective"]
) -> Tensor | None:
    """Weights of the classes, of mean 1 over those that some patch has.

    Args:
        support: How many patches have each class.
        samples: How many patches there are.
        rule: `inverse`: samples / support. `effective`: (1 - beta) / (1 - beta^support).

    Returns:
        float32, (classes,); a class that no patch has weighs 1. None where all weigh the same.
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
