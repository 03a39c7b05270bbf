"""A land-cover model over a product: probabilities on a grid of patches, complete or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from decametre.device import choose_devices
from decametre.errors import EvaluationError, ModelError, OutputError, UnknownNameError
from decametre.io.staging import Staging
from decametre.landcover.mapping.colours import colours_of
from decametre.landcover.mapping.geojson import PatchFeatures
from decametre.landcover.mapping.geotiff import (
    ENCODINGS,
    ClassWriter,
    MapGrid,
    ProbabilityWriter,
    bytes_needed,
    names_path,
)
from decametre.landcover.mapping.pixel_rows import PatchGrid, check_stride, cut, data_share
from decametre.landcover.mapping.pixel_source import PixelSource, source_of
from decametre.landcover.mapping.stac_item import land_cover_item
from decametre.landcover.metrics.thresholds import Thresholds, record
from decametre.landcover.models.card import LandCoverCard, LandCoverModel
from decametre.landcover.models.classifier import BATCH, probabilities, thresholds_of
from decametre.landcover.patches.nomenclature import Nomenclature
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import models_for
from decametre.superres.sharpening.sharpened_tile import SharpenedTile
from decametre.superres.sharpening.sharpening_job import Progress, check_apart, dump
from decametre.version import __version__

log = logging.getLogger(__name__)

LEAST_DATA = 0.9
"""Share of a patch that must have data for it to be classified, unless another is given."""


@dataclass(frozen=True)
class Options:
    """How a map is made; see `decametre.api.predict_land_cover`."""

    stride: int = PATCH_METRES
    least_data: float = LEAST_DATA
    encoding: str = "probability"
    sharpen_with: Sequence[str] = ()
    device: str = "auto"
    precision: str = "auto"
    geojson: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class LandCoverMap:
    """A finished map.

    Attributes:
        path: The probabilities.
        classes_path: The most probable class.
        features_path: The patches as GeoJSON, or None.
        item_path: The STAC item.
        patches: How many were classified.
        without_data: How many were not, for want of data.
    """

    path: Path
    classes_path: Path
    features_path: Path | None
    item_path: Path
    patches: int
    without_data: int


def run(
    product: Product,
    output: Path,
    model: LandCoverModel,
    window: Window,
    tile: SharpenedTile | None,
    options: Options,
    progress: Progress,
) -> LandCoverMap:
    """Classify the patches of a window of a product.

    Args:
        product: The product.
        output: Where the probabilities are to stand; all else stands beside.
        model: What classifies.
        window: In 10 m pixels, a multiple of 6.
        tile: The product sharpened already, or None.
        options: How.
        progress: Called with the patches done, all patches, and the patches done.

    Raises:
        DecametreError: See `decametre.api.predict_land_cover`.
    """
    check_choices(model.card, tile, options)
    if not output.is_dir() and output.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(f"{output}: give a name that ends in .tif; a GeoTIFF is written")
    card, device = model.card, choose_devices(options.device)[0]
    thresholds = thresholds_of(card)
    patches = PatchGrid(window, options.stride)
    source = source_of(
        product, card, patches, tile, options.sharpen_with, device, options.precision
    )
    network = model.network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    grid = patches.map_on(product.grid)
    classes_name, features_name = f"{output.stem}.classes.tif", f"{output.stem}.geojson"
    legend_name, item_name = names_path(Path(classes_name)).name, f"{output.stem}.json"
    companions = (classes_name, legend_name, features_name, item_name)
    for name in (output.name, *companions):
        check_apart(product, output.with_name(name))
    about = _about(card, source, thresholds, device, options)
    total, known = patches.rows * patches.columns, 0
    with Staging(
        output,
        companions,
        overwrite=options.overwrite,
        needed=_bytes_needed(grid, card, options),
    ) as staging:
        with ExitStack() as stack:
            writer = stack.enter_context(
                ProbabilityWriter(staging.path(output.name), grid, card.classes, options.encoding)
            )
            colours = colours_of(Nomenclature(card.nomenclature, card.classes))
            classes = stack.enter_context(
                ClassWriter(staging.path(classes_name), grid, card.classes, colours)
            )
            features = None
            if options.geojson:
                features = stack.enter_context(
                    PatchFeatures(staging.path(features_name), grid.crs, {"decametre": about})
                )
            progress(0, total, 0)
            rows = classified(network, source, patches, options.least_data, device, card)
            for row, found in enumerate(rows):
                writer.write(row, found)
                classes.write(row, found)
                columns = np.flatnonzero(~np.isnan(found).any(axis=1)).tolist()
                if features:
                    features.write(
                        patches.boxes(product.grid, row, columns),
                        [_said(row, at, found[at], thresholds, card.classes) for at in columns],
                    )
                known += len(columns)
                done = (row + 1) * patches.columns
                progress(done, total, done)
            tags = {
                "SOFTWARE": f"decametre {__version__}",
                "SOURCE": product.id,
                "MODEL": f"{card.name} sha256:{card.checksum}",
            }
            writer.finish(tags)
            classes.finish(tags)
        item = land_cover_item(
            product,
            grid,
            output,
            writer,
            classes,
            features_name if options.geojson else None,
            about | {"patches": known, "patches_without_data": total - known},
            settings_of(card, product.asked_offset_dn, options)
            | {"window": None if window == product.grid.window else str(window)},
        )
        dump(staging.path(item_name), item.to_dict(include_self_link=False))
        made = [output.name, classes_name, legend_name, item_name]
        if options.geojson:
            made.insert(3, features_name)
        staging.commit(*made)
    if not known:
        log.warning(
            "no patch has data on %g %% of its area: the map is empty", 100 * options.least_data
        )
    return LandCoverMap(
        output,
        output.with_name(classes_name),
        output.with_name(features_name) if options.geojson else None,
        output.with_name(item_name),
        known,
        total - known,
    )


def check_choices(card: LandCoverCard, tile: SharpenedTile | None, options: Options) -> None:
    """Refuse what no map could be made with.

    Args:
        card: Of the model that classifies.
        tile: The product sharpened already, or None.
        options: How.

    Raises:
        UnknownNameError: The encoding is none.
        GridError: The stride is none.
        ModelError: The model sees bands as measured, and something sharpened was given.
    """
    if options.encoding not in ENCODINGS:
        raise UnknownNameError("encoding", options.encoding, ENCODINGS)
    check_stride(options.stride)
    if not card.sharpened and (tile is not None or options.sharpen_with):
        raise ModelError(
            f"model {card.name} was trained on bands as measured; leave out what sharpens"
        )


def classified(
    network: nn.Module,
    source: PixelSource,
    patches: PatchGrid,
    least_data: float,
    device: torch.device,
    card: LandCoverCard,
) -> Iterator[np.ndarray]:
    """Classify patches, a row of them at a time.

    Args:
        network: In evaluation mode, on the device.
        source: The pixels.
        patches: Which.
        least_data: Share of a patch that must have data.
        device: Where the network is.
        card: Of the network.

    Yields:
        float32, (columns, classes); NaN for patches with too little data.

    Raises:
        EvaluationError: The network gives what is no probability.
    """
    for planes in source.rows:
        found = np.full((patches.columns, len(card.classes)), np.nan, np.float32)
        for begin in range(0, patches.columns, BATCH):
            columns = np.arange(begin, min(begin + BATCH, patches.columns))
            dn = cut(planes, source.bands_in, columns.tolist(), patches.step)
            enough = data_share(dn) >= least_data
            if not enough.any():
                continue
            some = {gsd: image[enough] for gsd, image in dn.items()}
            offset = {gsd: np.tile(o, (enough.sum(), 1)) for gsd, o in source.offset.items()}
            answers = probabilities(network, some, offset, device)
            if not np.isfinite(answers).all():
                raise EvaluationError(
                    f"model {card.name}: a probability is {answers[~np.isfinite(answers)][0]}; the "
                    "network's weights hold values that are not finite"
                )
            found[columns[enough]] = answers
        yield found


def settings_of(card: LandCoverCard, offset_dn: float | None, options: Options) -> dict[str, Any]:
    """All that a map depends on beside the product, its part and the version, as JSON.

    Args:
        card: Of the model that classifies.
        offset_dn: Radiometric offset that was asked for, or None.
        options: How.
    """
    with_models = models_for(BAND_NAMES, options.sharpen_with) if options.sharpen_with else []
    return {
        "models": {card.name: card.checksum},
        "sharpen_with": {model.card.name: model.card.checksum for model in with_models},
        "offset_dn": offset_dn,
        "stride": options.stride,
        "least_data": options.least_data,
        "precision": options.precision,
        "encoding": options.encoding,
        "geojson": options.geojson,
    }


def _about(
    card: LandCoverCard,
    source: PixelSource,
    thresholds: Thresholds,
    device: torch.device,
    options: Options,
) -> dict[str, Any]:
    """What made the map."""
    return {
        "model": {"name": card.name, "checksum_sha256": card.checksum},
        "sharpened_by": source.sharpened_by,
        "nomenclature": card.nomenclature,
        "patch_metres": PATCH_METRES,
        "stride_metres": options.stride,
        "least_data": options.least_data,
        "thresholds": record(thresholds, card.classes),
        "device": str(device),
    }


def _said(
    row: int, column: int, scores: np.ndarray, thresholds: Thresholds, names: Sequence[str]
) -> dict[str, Any]:
    """Properties of a patch in GeoJSON."""
    yes = scores >= np.asarray(thresholds.values, np.float64)
    values = scores.astype(np.float64).round(4).tolist()
    return {
        "row": row,
        "column": column,
        "classes": [name for name, there in zip(names, yes, strict=True) if there],
        "most_probable": names[int(scores.argmax())],
        "probabilities": dict(zip(names, values, strict=True)),
    }


def _bytes_needed(grid: MapGrid, card: LandCoverCard, options: Options) -> int:
    """Upper bound of the disk space."""
    maps = bytes_needed(grid, len(card.classes), options.encoding)
    feature = 500 + 2 * sum(len(name.encode()) + 12 for name in card.classes)
    return maps + grid.rows * grid.columns * feature * options.geojson
