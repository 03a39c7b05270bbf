"""The quality card: what was done to a product, and how well it agrees with the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from decametre.sentinel2.bands import ALL_BANDS
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.models.card import Card
from decametre.superres.sharpening.consistency import KERNEL, STEPS, ResidualSums
from decametre.superres.sharpening.image_writer import BandStatistics
from decametre.version import __version__

VERSION = "1"
"""Version of the card's own layout."""


def quality_card(
    product: Product,
    window: Window,
    bands: Sequence[str],
    cards: Sequence[Card],
    residuals: Mapping[str, ResidualSums],
    statistics: Mapping[str, BandStatistics],
    *,
    device: str,
    precision: str,
    consistent: bool,
) -> dict[str, Any]:
    """Everything about a result that a reader needs in order to trust it, as JSON.

    Args:
        product: The input.
        window: What was sharpened, in 10 m pixels.
        bands: Bands of the output.
        cards: Of the models that ran.
        residuals: Consistency residual of each model's bands, over all cores, by model name.
        statistics: Of each output band.
        device: Where the networks ran.
        precision: Of their convolutions.
        consistent: Whether the result was projected.

    Returns:
        The card. Nothing in it depends on the time or the machine's speed, so that a second run
        gives the same.
    """
    made: dict[str, Card] = {}
    consistency: dict[str, dict[str, Any]] = {}
    for card in cards:
        sums = residuals[card.name]
        for index, name in enumerate(card.bands_out):
            if name in made:
                continue
            made[name] = card
            consistency[name] = _residual(sums, index, product.bands[name].radiometry.scale)
    entries = {}
    for name in bands:
        radiometry = product.bands[name].radiometry
        entries[name] = {
            "native_gsd": ALL_BANDS[name].gsd,
            "model": made[name].name if name in made else None,
            "scale": radiometry.scale,
            "offset_dn": radiometry.offset_dn,
            "valid_percent": round(
                100 * statistics[name].count / max(1, statistics[name].pixels), 4
            ),
        } | ({"consistency": consistency[name]} if name in made else {})
    return {
        "version": VERSION,
        "software": {"decametre": __version__, "torch": torch.__version__},
        "product": {
            "id": product.id,
            "level": product.level,
            "processing_baseline": product.baseline,
            "offset": product.offset_reason,
        },
        "window": [window.col, window.row, window.width, window.height],
        "device": device,
        "precision": precision,
        "back_projection_steps": STEPS if consistent else 0,
        "consistency_kernel": KERNEL,
        "models": {
            card.name: {
                "checksum_sha256": card.checksum,
                "parameters": card.parameters,
                "attribution": card.attribution,
                "projection": card.projection,
                "scores_at_degraded_scale": {
                    key: value for key, value in card.scores.items() if key != "scenes"
                },
            }
            for card in cards
        },
        "bands": entries,
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
