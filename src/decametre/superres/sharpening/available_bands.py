"""Products that lack bands: which bands can be sharpened, and by which models.

A network needs all of its input bands. Local regressions take any bands, so they replace a network
that lacks an input; without any 10 m band, bicubic interpolation does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from decametre.errors import MissingBandError
from decametre.sentinel2.bands import BAND_NAMES, FINEST_GSD, bands_at
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import Model, untrained_model

log = logging.getLogger(__name__)


def available_bands(product: Product, bands: Sequence[str]) -> tuple[str, ...]:
    """The bands of the output: those requested; of all bands, those that the product has.

    Raises:
        MissingBandError: Some, but not all bands are requested, and the product lacks one; or it
            has none.
    """
    found = tuple(name for name in bands if name in product.bands)
    missing = [name for name in bands if name not in product.bands]
    if missing and (set(bands) != set(BAND_NAMES) or not found):
        where = product.missing.get(missing[0], product.source)
        remedy = f"; give --bands {','.join(found)} to continue without it" if found else ""
        raise MissingBandError(f"{product.id}: band {missing[0]} is missing: {where}{remedy}")
    return found


def usable_models(product: Product, models: Sequence[Model], bands: Sequence[str]) -> list[Model]:
    """The models with replacements for those that lack an input; one warning names them.

    Args:
        product: The product.
        models: From `registry.models_for`, for the requested bands.
        bands: From `available_bands`.
    """
    usable, remarks = [], []
    for model in models:
        card = model.card
        lacking = [name for name in card.bands if name not in product.bands]
        if not set(bands).intersection(card.bands_out):
            continue  # all of its bands are missing
        if not lacking:
            usable.append(model)
            continue
        finer = any(name in product.bands for name in bands_at(FINEST_GSD))
        replacement = untrained_model(
            f"{'regression' if finer else 'bicubic'}_{card.scale}x", product.bands
        )
        usable.append(replacement)
        remarks.append(f"{replacement.card.name} replaces {card.name}")
    missing = [name for name in BAND_NAMES if name not in product.bands]
    if remarks or any(name in model.card.bands_out for model in models for name in missing):
        remarks.append(f"bands of the result: {', '.join(bands)}")
        log.warning("%s: has no %s; %s", product.id, ", ".join(missing), "; ".join(remarks))
    return usable
