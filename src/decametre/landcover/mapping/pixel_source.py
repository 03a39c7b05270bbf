"""Choose the source of a map's pixels: the product, its sharpened tile, or sharpening models."""

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
from decametre.superres.sharpening.adaptation import adapt_models
from decametre.superres.sharpening.pipeline import read_ahead
from decametre.superres.sharpening.sharpened_tile import SharpenedTile
from decametre.superres.sharpening.sharpener import Sharpener, inputs_of

log = logging.getLogger(__name__)

READ_AHEAD = 2
"""Rows of patches that are read ahead of classification."""


@dataclass(frozen=True)
class PixelSource:
    """The input pixels of a network, row by row.

    Attributes:
        rows: Rows of patches from north to south; can be read once.
        bands_in: Input bands of the network for each GSD.
        offset: float32 radiometric offset in DN, (bands,), for each GSD.
        sharpened_by: Names and SHA-256 of the sharpening models; empty for bands as measured.
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
    """Choose the source of the input pixels of a model.

    Args:
        product: The product.
        card: Card of the model.
        patches: The patches to classify.
        tile: The product's sharpened tile, or None. Models for bands as measured ignore it.
        sharpen_with: Models that sharpen if there is no tile; by default those that the card names.
        device: Device of the sharpening models.
        precision: Their precision, see `choose_precision`.

    Raises:
        ModelError: The models that sharpened the training images are unknown or not available.
        GridError: The tile does not cover the patches.
        DecametreError: Product or tile cannot be used.
    """
    if not card.sharpened:
        check_scale(product, card.bands)
        # A thread reads while the network computes.
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
    product.band_files(inputs_of(models, card.bands))
    adapted, _ = adapt_models(models, product)
    sharpener = Sharpener(adapted, card.bands, device, choose_precision(precision, device))
    # Sharpening has its own threads.
    rows = sharpened_rows(product, sharpener, patches)
    return _source(product, card, rows, ", ".join(sorted(map(_identifier, models))))


def _source(
    product: Product, card: LandCoverCard, rows: Iterator[Planes], sharpened_by: str
) -> PixelSource:
    offset = {
        gsd: np.array([product.bands[name].radiometry.offset_dn for name in names], np.float32)
        for gsd, names in card.bands_in.items()
    }
    return PixelSource(rows, card.bands_in, offset, sharpened_by)


def sharpening_models(card: LandCoverCard, given: Sequence[str]) -> list[Model]:
    """The models that sharpen the input of a land-cover network.

    Args:
        card: Card of the network.
        given: Names, families or folders; by default the models that sharpened its training images.

    Raises:
        ModelError: The card does not name them, or they are not available.
        UnknownNameError: A given model does not exist.
    """
    if given:
        models = models_for(card.bands, given)
        _compare(card, ", ".join(map(_identifier, models)))
        return models
    recorded = _entries(str(card.training.get("sharpened_by", "")))
    remedy = "name it with --sharpen-with NAME|FOLDER"
    if not recorded:
        raise ModelError(
            f"model {card.name}: its card does not state which models sharpened its training "
            f"images; {remedy}"
        )
    try:
        models = models_for(card.bands, [entry.split()[0] for entry in recorded])
    except UnknownNameError as error:
        raise ModelError(
            f"model {card.name} was trained on images sharpened by {', '.join(recorded)}, which "
            f"does not come with decametre; {remedy}"
        ) from error
    for entry in map(_identifier, models):
        if entry not in recorded:
            raise ModelError(
                f"model {card.name} was trained on images sharpened by {', '.join(recorded)}, but "
                f"here is {entry}; {remedy}"
            )
    return models


def _compare(card: LandCoverCard, used: str) -> None:
    """Warn if the input of a network is sharpened by other models than its training images."""
    recorded = _entries(str(card.training.get("sharpened_by", "")))
    other = [entry for entry in _entries(used) if entry not in recorded]
    if recorded and other:
        log.warning(
            "model %s was trained on images sharpened by %s; these are by %s",
            card.name,
            ", ".join(recorded),
            ", ".join(other),
        )


def _identifier(model: Model) -> str:
    """Name and checksum, as in `SharpenedTile.model` and stores of patches."""
    return f"{model.card.name} sha256:{model.card.checksum}"


def _entries(models: str) -> list[str]:
    """The identifiers in a text."""
    return [entry for entry in models.split(", ") if entry]
