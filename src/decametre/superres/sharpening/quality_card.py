"""The quality card: how a product was sharpened, and scores of the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Window
from decametre.sentinel2.offset_check import OffsetCheck
from decametre.sentinel2.product import Product
from decametre.superres.models.card import Card
from decametre.superres.models.uncertainty import Uncertainty
from decametre.superres.sharpening.adaptation import Gains
from decametre.superres.sharpening.consistency import KERNEL, STEPS, ResidualSums
from decametre.superres.sharpening.image_writer import BandStatistics
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.self_check import SelfCheck, band_section, check_section
from decametre.version import __version__

VERSION = "1"
"""Version of the card's layout."""


@dataclass(frozen=True)
class Measurements:
    """Results of a job in addition to the image.

    Attributes:
        residuals: Consistency residual of each model's bands, by model.
        outliers: Number of outliers of each model's bands, by model; see `count_outliers`.
        statistics: Statistics of each output band.
        check: The self-check; None if it was skipped.
        gains: See `adaptation.adapt_models`.
        offset: Whether the pixels agree with the radiometric offset.
        uncertainties: For each model by name, the network that predicted its uncertainty.
    """

    residuals: Mapping[str, ResidualSums]
    outliers: Mapping[str, Tensor]
    statistics: Mapping[str, BandStatistics]
    check: SelfCheck | None
    gains: Gains
    offset: OffsetCheck | None = None
    uncertainties: Mapping[str, Uncertainty] = field(default_factory=dict)


def quality_card(
    product: Product,
    window: Window,
    options: SharpenOptions,
    cards: Sequence[Card],
    measurements: Measurements | None,
    *,
    device: str,
    precision: str,
) -> dict[str, Any]:
    """How a product was sharpened and how accurate the result is, as JSON.

    Args:
        product: The input.
        window: What was sharpened, in 10 m pixels.
        options: Options of the job.
        cards: Cards of the models; the first one that sharpens a band is used for it.
        measurements: Results of the job; None if no pixel has been computed yet.
        device: Device of the networks.
        precision: Precision of the networks.

    Returns:
        The card. Nothing in it depends on the time or the machine's speed, so a second run writes
        the same card.
    """
    check = measurements.check if measurements else None
    gains: Gains = measurements.gains if measurements else {}
    uncertainties = measurements.uncertainties if measurements else {}
    sharpened: dict[str, dict[str, Any]] = {}
    for card in cards:
        for index, name in enumerate(card.bands_out):
            if name in sharpened:
                continue
            scale = product.bands[name].radiometry.scale
            replaced = check is not None and name in check.worse_bands
            sharpened[name] = {"model": "bicubic" if replaced else card.name}
            if measurements:
                sums, outliers = measurements.residuals[card.name], measurements.outliers[card.name]
                sharpened[name] |= {
                    "consistency": _residual(sums, index, scale),
                    "outliers": int(outliers[index]),
                }
            if check is not None:
                sharpened[name]["self_check"] = band_section(check.bands[name], scale)
    entries: dict[str, dict[str, Any]] = {}
    for name in options.bands:
        radiometry = product.bands[name].radiometry
        entries[name] = {
            "native_gsd": ALL_BANDS[name].gsd,
            "model": None,
            "scale": radiometry.scale,
            "offset_dn": radiometry.offset_dn,
        }
        if measurements:
            count, pixels = (
                measurements.statistics[name].count,
                measurements.statistics[name].pixels,
            )
            entries[name]["valid_percent"] = round(100 * count / max(1, pixels), 4)
        entries[name] |= sharpened.get(name, {})
    return {
        "version": VERSION,
        "software": {"decametre": __version__, "torch": torch.__version__},
        "product": {
            "id": product.id,
            "level": product.level,
            "processing_baseline": product.baseline,
            "offset": product.offset_reason,
            "offset_check": str(measurements.offset)
            if measurements and measurements.offset
            else None,
        },
        "window": [window.col, window.row, window.width, window.height],
        "device": device,
        "precision": precision,
        "back_projection_steps": STEPS if options.consistent else 0,
        "consistency_kernel": KERNEL,
        "models": {
            card.name: {
                "checksum_sha256": card.checksum,
                "parameters": card.parameters,
                "attribution": card.attribution,
                "projection": card.projection,
                "adapted_to_nyquist_gains": {
                    name: round(gain, 3) for name, gain in gains.get(card.name, {}).items()
                },
                "uncertainty": uncertainty_section(uncertainties.get(card.name)),
                "scores_at_degraded_scale": {
                    key: value for key, value in card.scores.items() if key != "scenes"
                },
            }
            for card in cards
        },
        "self_check": None if check is None else check_section(check),
        "bands": entries,
    }


def uncertainty_section(uncertainty: Uncertainty | None) -> dict[str, Any] | None:
    """How the standard deviations of a model's bands were predicted; None if they were not.

    `intervals` has, for each band and percentage, the factor on the standard deviation that gives
    half of the interval with this percentage of the errors.
    """
    if uncertainty is None:
        return None
    card = uncertainty.card
    return {
        "model": card.name,
        "checksum_sha256": card.checksum,
        "intervals": {
            band: {
                level: round(factor / factors["deviation"], 4)
                for level, factor in factors.items()
                if level != "deviation"
            }
            for band, factors in card.factors.items()
        },
    }


def _residual(sums: ResidualSums, index: int, scale: float) -> dict[str, Any]:
    """The consistency residual of one band: RMSE in DN, and relative to the band's mean."""
    count = float(sums.count[index])
    if not count:
        return {"rmse_dn": None, "relative": None, "pixels": 0}
    rmse = float(sums.squares[index] / count) ** 0.5
    mean = float(sums.values[index]) / count
    return {
        "rmse_dn": round(rmse / scale, 3),
        "relative": round(rmse / mean, 6) if mean > 0 else None,
        "pixels": int(count),
    }
