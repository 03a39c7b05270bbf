"""Sharpening one product: a complete result is written, or nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decametre.io.outputs import check_input_safe, write_json
from decametre.io.staging import Staging
from decametre.progress import Progress, silent
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import Model
from decametre.superres.sharpening import quicklook as picture
from decametre.superres.sharpening.mask_writer import write_mask
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.output_files import SharpenedFiles
from decametre.superres.sharpening.sharpened_product import (
    SharpenedProduct,
    Stages,
    no_stages,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """The files of a sharpened product.

    Attributes:
        path: The COG; of the first band if every band has its own.
        item_path: The STAC item.
        quality_path: The quality card.
        quicklook_path: The before/after picture, or None.
        uncertainty_path: The standard deviations, or None.
        quality: Content of the quality card.
    """

    path: Path
    item_path: Path
    quality_path: Path
    quicklook_path: Path | None
    uncertainty_path: Path | None
    quality: dict[str, Any]

    @property
    def paths(self) -> list[Path]:
        """All files of the result: the assets of the item, and the item."""
        item = json.loads(self.item_path.read_text(encoding="utf-8"))
        names = [asset["href"] for asset in item["assets"].values()]
        return [self.path.parent / name for name in (*names, self.item_path.name)]


def run(
    product: Product,
    output: Path,
    models: Sequence[Model],
    window: Window,
    options: SharpenOptions,
    progress: Progress = silent,
    stages: Stages = no_stages,
) -> Result:
    """Sharpen a window of a product into a COG, a STAC item and a quality card.

    Args:
        product: The product.
        output: Path of the COG; item, card and picture are written to the same folder.
        models: From `registry.models_for`, for the bands of the options.
        window: In 10 m pixels, a multiple of every band's pixels. It takes the place of the part of
            the product that the options describe.
        options: How.
        progress: Called after each window that is computed.
        stages: Makes a context manager for each stage.

    Raises:
        DecametreError: See `decametre.sharpen`.
    """
    files = SharpenedFiles(output)
    files.check(overwrite=options.overwrite)
    check_input_safe(product, output)
    result = SharpenedProduct(product, window, models, options)
    with Staging(
        output, files.names, overwrite=options.overwrite, needed=result.bytes_needed
    ) as staging:
        images = files.images(result.options)
        paths = {name: staging.path(image.name) for name, image in images.items()}
        uncertainty = staging.path(files.uncertainty.name) if options.uncertainty else None
        result.write_images(paths, uncertainty, progress, stages)
        quality = result.quality_card()
        write_json(staging.path(files.quality.name), quality)
        assets = {"quality": files.quality.name}
        if uncertainty is not None:
            assets["uncertainty"] = files.uncertainty.name
        with stages("encode"):
            for name in result.masks:
                assets[name] = files.mask(name).name
                write_mask(staging.path(assets[name]), product, name, window)
        if result.snapshot is not None:
            assets["overview"] = files.quicklook.name
            assets["thumbnail"] = files.thumbnail.name
            picture.write_png(staging.path(assets["overview"]), result.snapshot.draw())
            picture.write_thumbnail(staging.path(assets["thumbnail"]), paths)
        write_json(staging.path(files.item.name), result.item(files, quality, assets))
        written = dict.fromkeys(image.name for image in images.values())
        staging.commit(*written, *assets.values(), files.item.name)
    shown = files.quicklook if result.snapshot is not None else None
    deviations = files.uncertainty if options.uncertainty else None
    image = next(iter(images.values()))
    return Result(image, files.item, files.quality, shown, deviations, quality)
