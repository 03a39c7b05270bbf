"""A window of a product that is sharpened: the computation, and what is known of the result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from decametre.device import choose_devices, choose_precision, precision_name
from decametre.io.stac_item import sharpened_item
from decametre.progress import Progress, silent
from decametre.sentinel2.area import Area
from decametre.sentinel2.grid import Window
from decametre.sentinel2.masks import read_clouds
from decametre.sentinel2.offset_check import OffsetCheck, check_offset
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.sentinel2.tiling import split
from decametre.superres.models.registry import Model
from decametre.superres.sharpening.adaptation import adapt_models
from decametre.superres.sharpening.available_bands import available_bands, usable_models
from decametre.superres.sharpening.consistency import ResidualSums
from decametre.superres.sharpening.deviations import deviation_radiometry, load_uncertainties
from decametre.superres.sharpening.image_writer import (
    BandStatistics,
    CogWriter,
    SplitWriter,
    bytes_needed,
)
from decametre.superres.sharpening.mask_writer import available_masks
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.output_files import SharpenedFiles
from decametre.superres.sharpening.output_images import (
    deviations_of,
    dtype_of,
    images_of,
    with_nodata,
)
from decametre.superres.sharpening.pipeline import sharpen_windows
from decametre.superres.sharpening.quality_card import Measurements, quality_card
from decametre.superres.sharpening.self_check import SelfCheck, check_product, worse_bands
from decametre.superres.sharpening.sharpener import SharpenedWindow, Sharpener, inputs_of
from decametre.superres.sharpening.snapshot import Snapshot
from decametre.version import __version__

log = logging.getLogger(__name__)

Stages = Callable[[str], AbstractContextManager[object]]
"""Makes a context manager for each stage of a job by its name: `compute` (with all reading but that
of the first window) or `encode`. Where jobs share a device, `compute` may wait for its turn."""


def no_stages(name: str) -> AbstractContextManager[object]:
    """Do nothing: the `Stages` of a job that nobody observes."""
    return nullcontext()


class ImageWriter(Protocol):
    """Takes the sharpened windows."""

    @property
    def statistics(self) -> Mapping[str, BandStatistics]:
        """Statistics of the bands that were written so far."""

    def write(self, window: Window, images: Mapping[str, np.ndarray]) -> None:
        """Take all bands of a window, which is relative to the first pixel of the output."""


class SharpenedProduct:
    """A window of a product, the networks that sharpen it, and what is known of the result.

    Args:
        product: The product.
        window: What is sharpened, in 10 m pixels.
        models: From `registry.models_for`.
        options: How.

    Raises:
        DeviceError: There is no such device.
        MissingBandError: The product lacks a band that is requested by name.
        CorruptDataError: A file cannot be decoded.
    """

    def __init__(
        self, product: Product, window: Window, models: Sequence[Model], options: SharpenOptions
    ) -> None:
        self.product, self.window = product, window
        bands = available_bands(product, options.bands)
        self.options = options = options.replaced(bands=bands)
        models = usable_models(product, models, bands)
        self.devices = choose_devices(options.device)
        self.precision = choose_precision(options.precision, self.devices[0])
        product.band_files(inputs_of(models, options.bands))
        self.models, self.gains = adapt_models(models, product)
        self.uncertainties = (
            load_uncertainties(self.models, options.model) if options.uncertainty else {}
        )
        self.sharpeners = [
            Sharpener(
                self.models,
                options.bands,
                device,
                self.precision,
                options.consistent,
                self.uncertainties,
            )
            for device in self.devices
        ]
        self.masks = available_masks(product, options)
        self.clouds = read_clouds(product, window) if options.mask_clouds else None
        self.area = Area(options.aoi, product.grid) if options.aoi and options.crop else None
        self.grid = product.grid.crop(window)
        self.radiometry = {name: product.bands[name].radiometry for name in options.bands}
        self.dtype = dtype_of(self.radiometry, options)
        self.deviations = deviation_radiometry(self.uncertainties, self.radiometry)
        self.residuals = {m.card.name: ResidualSums.zeros(m.card.bands_out) for m in models}
        self.outliers = {
            m.card.name: torch.zeros(len(m.card.bands_out), dtype=torch.int64) for m in models
        }
        self.statistics: Mapping[str, BandStatistics] = {}
        self.check: SelfCheck | None = None
        self.offset_check: OffsetCheck | None = None
        self.snapshot = Snapshot(product, window, options.bands) if options.quicklook else None

    @property
    def bytes_needed(self) -> int:
        """Upper bound of the disk space."""
        bands = len(self.options.bands) + len(self.deviations)
        return bytes_needed(self.grid, bands, self.dtype)

    def write_images(
        self,
        paths: Mapping[str, Path],
        uncertainty: Path | None,
        progress: Progress,
        stages: Stages,
    ) -> None:
        """Compute all windows and write the COGs; see `compute`.

        Args:
            paths: The COG of each band: one for all, or all different.
            uncertainty: The COG of their standard deviations; None without them.
            progress: See `run`.
            stages: See `run`.
        """
        with (
            (
                SplitWriter(paths, self.grid, self.radiometry, self.dtype, self.options.compression)
                if self.options.split_bands
                else self._writer(next(iter(paths.values())), self.radiometry)
            ) as writer,
            (
                nullcontext() if uncertainty is None else self._writer(uncertainty, self.deviations)
            ) as deviation_writer,
        ):
            self.compute(writer, deviation_writer, progress, stages)
            log.info("writing the Cloud-Optimized GeoTIFF")
            tags = {"SOFTWARE": f"decametre {__version__}", "SOURCE": self.product.id}
            with stages("encode"):
                writer.finish(tags)
                if deviation_writer is not None:
                    deviation_writer.finish(tags)

    def _writer(self, path: Path, radiometry: Mapping[str, Radiometry]) -> CogWriter:
        return CogWriter(path, self.grid, radiometry, self.dtype, self.options.compression)

    def compute(
        self,
        writer: ImageWriter,
        deviation_writer: ImageWriter | None = None,
        progress: Progress = silent,
        stages: Stages = no_stages,
    ) -> None:
        """Check the models, compute all windows and pass them to the writers.

        Args:
            writer: Takes the bands.
            deviation_writer: Takes their standard deviations, if they were requested.
            progress: See `run`.
            stages: See `run`.

        Afterwards, the attributes `check`, `statistics`, `residuals` and `outliers` are complete.
        """
        tile = self.options.tile
        total, pixels = len(split(self.window, tile, self.sharpeners[0].step)), 0
        progress(0, total, pixels)
        turn = self._compute_stage(stages)
        with closing(
            sharpen_windows(self.product, self.window, self.sharpeners, tile, turn)
        ) as pieces:
            for completed, piece in enumerate(pieces, start=1):
                self._add(piece, writer, deviation_writer)
                pixels += piece.core.width * piece.core.height
                progress(completed, total, pixels)
        self.statistics = writer.statistics
        if empty := [name for name, statistics in self.statistics.items() if not statistics.count]:
            log.warning("%s: no pixel of %s has data", self.product.id, ", ".join(empty))

    @contextmanager
    def _compute_stage(self, stages: Stages) -> Iterator[None]:
        """The stage `compute`, which starts with checks of the offset and of the models."""
        with stages("compute"):
            self.offset_check = check_offset(self.product)
            contradicts = self.offset_check.verdict == "contradicts"
            log.log(
                logging.WARNING if contradicts else logging.INFO,
                "%s: offset compared with the pixels: %s",
                self.product.id,
                self.offset_check,
            )
            if self.options.self_check and self.models:
                first = self.sharpeners[0]
                self.check = check_product(
                    self.product, self.window, first.models, first.device, first.precision
                )
                worse = worse_bands(self.check, self.options.bands, self.product.id)
                for sharpener in self.sharpeners:
                    sharpener.bicubic_bands = worse
            yield

    def _add(
        self, piece: SharpenedWindow, writer: ImageWriter, deviation_writer: ImageWriter | None
    ) -> None:
        self._write(piece, writer, images_of(piece, self.radiometry, self.dtype), self.radiometry)
        if deviation_writer is not None:
            deviations = deviations_of(piece, self.deviations, self.dtype)
            self._write(piece, deviation_writer, deviations, self.deviations)
        for name, sums in piece.residuals.items():
            self.residuals[name] += sums
            self.outliers[name] += piece.outliers[name]
        if self.snapshot:
            self.snapshot.add(piece)

    def _write(
        self,
        piece: SharpenedWindow,
        writer: ImageWriter,
        images: Mapping[str, np.ndarray],
        radiometry: Mapping[str, Radiometry],
    ) -> None:
        if self.clouds is not None:
            images = with_nodata(images, self.clouds.at(piece.core)[0] > 0, radiometry)
        if self.area is not None:
            images = with_nodata(images, self.area.outside(piece.core), radiometry)
        writer.write(piece.core.relative_to(self.window), images)

    def quality_card(self) -> dict[str, Any]:
        """The quality card."""
        return quality_card(
            self.product,
            self.window,
            self.options,
            [model.card for model in self.models],
            Measurements(
                self.residuals,
                self.outliers,
                self.statistics,
                self.check,
                self.gains,
                self.offset_check,
                self.uncertainties,
            ),
            device=", ".join(str(device) for device in self.devices),
            precision=precision_name(self.precision),
        )

    def item(
        self, files: SharpenedFiles, quality: Mapping[str, Any], assets: Mapping[str, str]
    ) -> dict[str, Any]:
        """The STAC item."""
        complete = self.window == self.product.grid.window or self.options.aoi is not None
        settings = settings_of(self.models, self.product.user_offset_dn, self.options)
        return sharpened_item(
            self.product,
            self.grid,
            files.image,
            {name: path.name for name, path in files.images(self.options).items()},
            self.radiometry,
            {name: statistics.tags for name, statistics in self.statistics.items()},
            quality,
            settings | {"window": None if complete else quality["window"]},
            assets,
            self.dtype,
            self.deviations,
        ).to_dict(include_self_link=False)


def settings_of(
    models: Sequence[Model], offset_dn: float | None, options: SharpenOptions
) -> dict[str, Any]:
    """All that a result depends on besides the product, its part and the version, as JSON.

    The item records it, so that a later run can check whether it would give the same result.
    Options that only change time or memory are not part of it.

    Args:
        models: From `registry.models_for`.
        offset_dn: Radiometric offset given by the user, or None.
        options: How.
    """
    return (
        {
            "models": {model.card.name: model.card.checksum for model in models},
            "bands": list(options.bands),
            "offset_dn": offset_dn,
        }
        | options.model_dump(
            include={
                *("precision", "consistent", "self_check", "uncertainty", "encoding"),
                *("compression", "quicklook", "masks", "mask_clouds", "split_bands"),
            },
            mode="json",
        )
        | options.area_settings
    )
