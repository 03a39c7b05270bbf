"""Mapping the land cover of a product: a complete map is written, or nothing."""

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
from decametre.errors import EvaluationError, ModelError
from decametre.io.outputs import check_input_safe, write_json
from decametre.io.staging import Staging
from decametre.landcover.mapping.colours import colours_of
from decametre.landcover.mapping.geojson import PatchFeatures
from decametre.landcover.mapping.geotiff import (
    ClassWriter,
    ProbabilityWriter,
    bytes_needed,
)
from decametre.landcover.mapping.options import PredictOptions
from decametre.landcover.mapping.output_files import MapFiles
from decametre.landcover.mapping.pixel_rows import PatchGrid, cut, data_share
from decametre.landcover.mapping.pixel_source import PixelSource, source_of
from decametre.landcover.mapping.stac_item import land_cover_item
from decametre.landcover.metrics.thresholds import Thresholds, record
from decametre.landcover.models.card import LandCoverCard, LandCoverModel
from decametre.landcover.models.classifier import BATCH, probabilities, thresholds_of
from decametre.landcover.patches.nomenclature import Nomenclature
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.progress import Progress, silent
from decametre.sentinel2.area import Area
from decametre.sentinel2.bands import BAND_NAMES
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import models_for
from decametre.superres.sharpening.sharpened_tile import SharpenedTile
from decametre.version import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LandCoverMap:
    """The files of a map.

    Attributes:
        path: The probabilities.
        classes_path: The most probable class.
        features_path: The patches as GeoJSON, or None.
        item_path: The STAC item.
        patches: How many patches were classified.
        without_data: How many were not, because they lack data.
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
    options: PredictOptions,
    progress: Progress = silent,
) -> LandCoverMap:
    """Classify the patches of a window of a product.

    Args:
        product: The product.
        output: Path of the probabilities; all other files are written to the same folder.
        model: The model that classifies the patches; `options.model` is ignored.
        window: In 10 m pixels, a multiple of 6; the window and box of the options are ignored.
        tile: The sharpened product, or None.
        options: All other options.
        progress: Called with the patches completed, all patches, and the patches completed.

    Raises:
        DecametreError: See `decametre.predict_land_cover`.
    """
    files = MapFiles(output)
    files.check(overwrite=options.overwrite)
    for path in (output, *files.companions):
        check_input_safe(product, path)
    mapping = _Mapping(product, window, model, tile, options)
    with Staging(
        output, files.names, overwrite=options.overwrite, needed=mapping.bytes_needed
    ) as staging:
        mapping.write_maps(staging, files, progress)
        write_json(staging.path(files.item.name), mapping.item(files))
        written = [output, files.classes, files.class_names]
        written += [files.features] if options.geojson else []
        staging.commit(*(path.name for path in (*written, files.item)))
    if not mapping.classified:
        log.warning(
            "no patch has data on %g %% of its area: the map is empty", 100 * options.least_data
        )
    return LandCoverMap(
        output,
        files.classes,
        files.features if options.geojson else None,
        files.item,
        mapping.classified,
        mapping.total - mapping.classified,
    )


class _Mapping:
    """A window of a product, and the network that classifies its patches.

    Args:
        product: The product.
        window: In 10 m pixels.
        model: The model that classifies the patches.
        tile: The sharpened product, or None.
        options: Options of the mapping.

    Attributes:
        total: Number of patches.
        classified: Number of patches with enough data, once the maps are written.
    """

    def __init__(
        self,
        product: Product,
        window: Window,
        model: LandCoverModel,
        tile: SharpenedTile | None,
        options: PredictOptions,
    ) -> None:
        check_images(model.card, tile, options)
        self.product, self.window, self.options, self.card = product, window, options, model.card
        self.device = choose_devices(options.device)[0]
        self.thresholds = thresholds_of(model.card)
        self.patches = PatchGrid(window, options.stride)
        self.source = source_of(
            product,
            model.card,
            self.patches,
            tile,
            options.sharpen_with,
            self.device,
            options.precision,
        )
        self.network = model.network.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.grid = self.patches.map_on(product.grid)
        self.total, self.classified = self.patches.rows * self.patches.columns, 0
        self.outside = np.zeros(self.grid.shape, bool)
        if options.aoi and options.crop:
            area = Area(options.aoi, product.grid)
            self.outside = area.outside_of(self.grid.shape, self.grid.transform)

    @property
    def bytes_needed(self) -> int:
        """Upper bound of the disk space."""
        maps = bytes_needed(self.grid, len(self.card.classes), self.options.encoding)
        feature = 500 + 2 * sum(len(name.encode()) + 12 for name in self.card.classes)
        return maps + self.grid.rows * self.grid.columns * feature * self.options.geojson

    @property
    def provenance(self) -> dict[str, Any]:
        """The models and settings of the map, as JSON."""
        return {
            "model": {"name": self.card.name, "checksum_sha256": self.card.checksum},
            "sharpened_by": self.source.sharpened_by,
            "nomenclature": self.card.nomenclature,
            "patch_metres": PATCH_METRES,
            "stride_metres": self.options.stride,
            "least_data": self.options.least_data,
            "thresholds": record(self.thresholds, self.card.classes),
            "device": str(self.device),
        }

    def write_maps(self, staging: Staging, files: MapFiles, progress: Progress) -> None:
        """Classify all patches and write both maps and, if requested, the GeoJSON."""
        card, crs = self.card, self.grid.crs
        colours = colours_of(Nomenclature(card.nomenclature, card.classes))
        image, classes = staging.path(files.image.name), staging.path(files.classes.name)
        self.probability_writer = ProbabilityWriter(
            image, self.grid, card.classes, self.options.encoding
        )
        self.class_writer = ClassWriter(classes, self.grid, card.classes, colours)
        with ExitStack() as stack:
            stack.enter_context(self.probability_writer)
            stack.enter_context(self.class_writer)
            features = None
            if self.options.geojson:
                path, about = staging.path(files.features.name), {"decametre": self.provenance}
                features = stack.enter_context(PatchFeatures(path, crs, about))
            progress(0, self.total, 0)
            rows = classified(
                self.network,
                self.source,
                self.patches,
                self.options.least_data,
                self.device,
                card,
                self.outside,
            )
            for row, scores in enumerate(rows):
                self._write_row(row, scores, features)
                completed = (row + 1) * self.patches.columns
                progress(completed, self.total, completed)
            tags = {
                "SOFTWARE": f"decametre {__version__}",
                "SOURCE": self.product.id,
                "MODEL": f"{card.name} sha256:{card.checksum}",
            }
            self.probability_writer.finish(tags)
            self.class_writer.finish(tags)

    def _write_row(self, row: int, scores: np.ndarray, features: PatchFeatures | None) -> None:
        self.probability_writer.write(row, scores)
        self.class_writer.write(row, scores)
        columns = np.flatnonzero(~np.isnan(scores).any(axis=1)).tolist()
        self.classified += len(columns)
        if features:
            features.write(
                self.patches.boxes(self.product.grid, row, columns),
                [
                    patch_properties(row, at, scores[at], self.thresholds, self.card.classes)
                    for at in columns
                ],
            )

    def item(self, files: MapFiles) -> dict[str, Any]:
        """The STAC item."""
        counts = {
            "patches": self.classified,
            "patches_without_data": self.total - self.classified,
        }
        complete = self.window == self.product.grid.window or self.options.aoi is not None
        settings = settings_of(self.card, self.product.user_offset_dn, self.options)
        return land_cover_item(
            self.product,
            self.grid,
            files.image,
            self.probability_writer,
            self.class_writer,
            files.features.name if self.options.geojson else None,
            self.provenance | counts,
            settings | {"window": None if complete else str(self.window)},
        ).to_dict(include_self_link=False)


def check_images(card: LandCoverCard, tile: SharpenedTile | None, options: PredictOptions) -> None:
    """Refuse sharpened images for a model that was trained on bands as measured.

    Args:
        card: Card of the model that classifies.
        tile: The sharpened product, or None.
        options: Options of the mapping; they may name models that sharpen.

    Raises:
        ModelError: The model was trained on bands as measured.
    """
    if not card.sharpened and (tile is not None or options.sharpen_with):
        raise ModelError(
            f"model {card.name} was trained on bands as measured; omit the options that sharpen"
        )


def classified(
    network: nn.Module,
    source: PixelSource,
    patches: PatchGrid,
    least_data: float,
    device: torch.device,
    card: LandCoverCard,
    outside: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Classify patches, a row of them at a time.

    Args:
        network: In evaluation mode, on the device.
        source: The pixels.
        patches: The grid of patches.
        least_data: Share of a patch that must have data.
        device: Device of the network.
        card: Card of the network.
        outside: bool, (rows, columns): patches that are not classified; by default none.

    Yields:
        float32, (columns, classes); NaN for patches with too little data or outside.

    Raises:
        EvaluationError: A score of the network is not finite.
    """
    for row, planes in enumerate(source.rows):
        found = np.full((patches.columns, len(card.classes)), np.nan, np.float32)
        for begin in range(0, patches.columns, BATCH):
            columns = np.arange(begin, min(begin + BATCH, patches.columns))
            dn = cut(planes, source.bands_in, columns.tolist(), patches.step)
            enough = data_share(dn) >= least_data
            if outside is not None:
                enough &= ~outside[row, columns]
            if not enough.any():
                continue
            some = {gsd: image[enough] for gsd, image in dn.items()}
            offset = {gsd: np.tile(o, (enough.sum(), 1)) for gsd, o in source.offset.items()}
            scores = probabilities(network, some, offset, device)
            if not np.isfinite(scores).all():
                raise EvaluationError(
                    f"model {card.name}: a probability is {scores[~np.isfinite(scores)][0]}; the "
                    "weights of the network contain values that are not finite"
                )
            found[columns[enough]] = scores
        yield found


def settings_of(
    card: LandCoverCard, offset_dn: float | None, options: PredictOptions
) -> dict[str, Any]:
    """All that a map depends on besides the product, its part and the version, as JSON.

    Args:
        card: Card of the model that classifies.
        offset_dn: Radiometric offset given by the user, or None.
        options: Options of the mapping.
    """
    sharpening = models_for(BAND_NAMES, options.sharpen_with) if options.sharpen_with else []
    return {
        "models": {card.name: card.checksum},
        "sharpen_with": {model.card.name: model.card.checksum for model in sharpening},
        "offset_dn": offset_dn,
        "stride": options.stride,
        "least_data": options.least_data,
        "precision": options.precision,
        "encoding": options.encoding,
        "geojson": options.geojson,
    } | options.area_settings


def patch_properties(
    row: int, column: int, scores: np.ndarray, thresholds: Thresholds, names: Sequence[str]
) -> dict[str, Any]:
    """Properties of a patch in GeoJSON."""
    present = scores >= np.asarray(thresholds.values, np.float64)
    values = scores.astype(np.float64).round(4).tolist()
    return {
        "row": row,
        "column": column,
        "classes": [name for name, there in zip(names, present, strict=True) if there],
        "most_probable": names[int(scores.argmax())],
        "probabilities": dict(zip(names, values, strict=True)),
    }
