"""Where the pixels of a land-cover map come from: the product, its sharpened tile, or both."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from decametre.device import choose_precision
from decametre.errors import GridError, ModelError, UnknownNameError
from decametre.landcover.extraction.cutting import CuttingSource, check_scale
from decametre.landcover.mapping.pixel_rows import (
    PatchGrid,
    Planes,
    native_rows,
    sharpened_rows,
    tile_rows,
)
from decametre.landcover.models.card import LandCoverCard
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import Model, models_for
from decametre.superres.sharpening.pipeline import read_ahead
from decametre.superres.sharpening.sharpened_tile import SharpenedTile
from decametre.superres.sharpening.sharpener import Sharpener

log = logging.getLogger(__name__)

READ_AHEAD = 2
"""Rows of patches that are read but not yet classified."""


@dataclass(frozen=True)
class PixelSource:
    """The pixels that a network sees, row by row.

    Attributes:
        rows: From north to south, once.
        bands_in: Band names for each GSD, as the network takes them.
        offset: float32 DN to add, (bands,) for each GSD.
        sharpened_by: Names and SHA-256 of what sharpened them; empty where nothing did.
    """

    rows: Iterator[Planes]
    bands_in: Mapping[int, tuple[str, ...]]
    offset: Mapping[int, np.ndarray]
    sharpened_by: str


def source_of(
    product: Product,
    card: LandCoverCard,
    patches: PatchGrid,
    tile: SharpenedTile | None,
    sharpen_with: Sequence[str],
    device: torch.device,
    precision: str,
) -> PixelSource:
    """What a model needs of a product.

    Args:
        product: The product.
        card: Of the model.
        patches: What is classified.
        tile: The product sharpened already, or None; of no use to a model that sees bands as
            measured, as is `sharpen_with`.
        sharpen_with: Models that sharpen on the way; those of the card without.
        device: Where they run.
        precision: In which, see `choose_precision`.

    Raises:
        ModelError: It is not known, or not at hand, what sharpened the model's training images.
        GridError: The tile does not cover the patches.
        DecametreError: Product or tile cannot be used.
    """
    if not card.sharpened:
        check_scale(product, card.bands)
        # A thread reads while the network works.
        rows = read_ahead(lambda: native_rows(product, card.bands, patches), READ_AHEAD)
        return _source(product, card, rows, "")
    if tile is not None:
        extent = CuttingSource(product, tile, ("data_super",)).extent
        if not extent.contains(patches.extent):
            raise GridError(
                f"{tile.path} covers {extent} of {product.id}, in COL,ROW,WIDTH,HEIGHT of "
                f"{FINEST_GSD} m pixels, not {patches.extent}; give --window inside it"
            )
        _compare(card, tile.model)
        rows = read_ahead(lambda: tile_rows(tile, extent, patches), READ_AHEAD)
        return _source(product, card, rows, tile.model)
    check_scale(product, card.bands)
    models = sharpening_models(card, sharpen_with)
    sharpener = Sharpener(models, card.bands, device, choose_precision(precision, device))
    product.band_files(sharpener.inputs)
    # This one has threads of its own.
    rows = sharpened_rows(product, sharpener, patches)
    return _source(product, card, rows, ", ".join(sorted(map(_known_as, models))))


def _source(
    product: Product, card: LandCoverCard, rows: Iterator[Planes], sharpened_by: str
) -> PixelSource:
    offset = {
        gsd: np.array([product.bands[name].radiometry.offset_dn for name in names], np.float32)
        for gsd, names in card.bands_in.items()
    }
    return PixelSource(rows, card.bands_in, offset, sharpened_by)


def sharpening_models(card: LandCoverCard, given: Sequence[str]) -> list[Model]:
    """The models that make what a land-cover network sees.

    Args:
        card: Of that network.
        given: Names, families or folders; without, those that sharpened its training images.

    Raises:
        ModelError: The card does not name them, or they are not at hand.
        UnknownNameError: There is no such model as given.
    """
    if given:
        models = models_for(card.bands, given)
        _compare(card, ", ".join(map(_known_as, models)))
        return models
    recorded = _entries(str(card.training.get("sharpened_by", "")))
    remedy = "name it with --sharpen-with NAME|FOLDER"
    if not recorded:
        raise ModelError(
            f"model {card.name}: its card does not say what sharpened its training images; {remedy}"
        )
    try:
        models = models_for(card.bands, [entry.split()[0] for entry in recorded])
    except UnknownNameError as error:
        raise ModelError(
            f"model {card.name} was trained on images sharpened by {', '.join(recorded)}, which "
            f"does not come with decametre; {remedy}"
        ) from error
    for entry in map(_known_as, models):
        if entry not in recorded:
            raise ModelError(
                f"model {card.name} was trained on images sharpened by {', '.join(recorded)}, but "
                f"here is {entry}; {remedy}"
            )
    return models


def _compare(card: LandCoverCard, used: str) -> None:
    """Warn where a network sees images that another model made than those it was trained on."""
    recorded = _entries(str(card.training.get("sharpened_by", "")))
    other = [entry for entry in _entries(used) if entry not in recorded]
    if recorded and other:
        log.warning(
            "model %s was trained on images sharpened by %s; these are by %s",
            card.name,
            ", ".join(recorded),
            ", ".join(other),
        )


def _known_as(model: Model) -> str:
    """As `SharpenedTile.model` and stores of patches have it."""
    return f"{model.card.name} sha256:{model.card.checksum}"


def _entries(models: str) -> list[str]:
    """The parts of such a text."""
    return [entry for entry in models.split(", ") if entry]
