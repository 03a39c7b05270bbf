"""The main job: one product in, one complete result out, or nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decametre.choices import DEFAULT_TILE, ENCODINGS, PRECISIONS
from decametre.device import choose_devices, choose_precision
from decametre.errors import OutputError, UnknownNameError
from decametre.io.stac_item import result_item
from decametre.io.staging import Staging
from decametre.sentinel2.grid import Window
from decametre.sentinel2.product import Product
from decametre.sentinel2.radiometry import Radiometry
from decametre.sentinel2.raster import BandReader
from decametre.sentinel2.tiling import split
from decametre.superres.models.registry import Model
from decametre.superres.sharpening import quicklook as picture
from decametre.superres.sharpening.consistency import ResidualSums
from decametre.superres.sharpening.image_writer import COMPRESSIONS, CogWriter, bytes_needed
from decametre.superres.sharpening.pipeline import sharpen_windows
from decametre.superres.sharpening.quality_card import quality_card
from decametre.superres.sharpening.sharpener import SharpenedWindow, Sharpener
from decametre.version import __version__

log = logging.getLogger(__name__)

Progress = Callable[[int, int, int], None]
"""Called with the number of windows done, of all windows, and of 10 m pixels done."""

Stages = Callable[[str], AbstractContextManager[object]]
"""What surrounds each stage of a job, by its name: `compute` (with the reading, but for the first
window) and `encode`. Where jobs share a device, `compute` may wait for its turn."""


@dataclass(frozen=True)
class Result:
    """A finished product.

    Attributes:
        path: The COG.
        item_path: The STAC item.
        quality_path: The quality card.
        quicklook_path: The before/after picture, or None.
        quality: The quality card's content.
    """

    path: Path
    item_path: Path
    quality_path: Path
    quicklook_path: Path | None
    quality: dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How a product is sharpened; see `decametre.api.sharpen`."""

    device: str = "auto"
    precision: str = "auto"
    consistent: bool = False
    encoding: str = "dn"
    compression: str = "deflate"
    quicklook: bool = False
    overwrite: bool = False
    tile: int = DEFAULT_TILE


def run(
    product: Product,
    output: Path,
    models: Sequence[Model],
    bands: Sequence[str],
    window: Window,
    options: Options,
    progress: Progress,
    stages: Stages = lambda name: nullcontext(),
) -> Result:
    """Sharpen a window of a product into a COG, a STAC item and a quality card.

    Args:
        product: The product.
        output: Where the COG is to stand; item, card and picture stand beside it.
        models: From `registry.models_for`.
        bands: Bands of the output.
        window: In 10 m pixels, a multiple of every band's pixels.
        options: How.
        progress: Called after every core.
        stages: What surrounds each stage.

    Raises:
        DecametreError: See `decametre.api.sharpen`.
    """
    check_choices(options)
    if not output.is_dir() and output.suffix.lower() not in (".tif", ".tiff"):
        raise OutputError(f"{output}: give a name that ends in .tif; a GeoTIFF is written")
    dtype = ENCODINGS[options.encoding]
    devices = choose_devices(options.device)
    precision = choose_precision(options.precision, devices[0])
    sharpeners = [Sharpener(models, bands, d, precision, options.consistent) for d in devices]
    product.band_files(sharpeners[0].inputs)
    grid = product.grid.crop(window)
    radiometry = {name: product.bands[name].radiometry for name in bands}
    residuals = {m.card.name: ResidualSums.zeros(m.card.bands_out) for m in models}
    check_apart(product, output)

    with Staging(
        output,
        (f"{output.stem}.json", f"{output.stem}.quality.json", f"{output.stem}.quicklook.png"),
        overwrite=options.overwrite,
        needed=bytes_needed(grid, len(bands), dtype),
    ) as staging:
        shot = Snapshot(product, window, bands) if options.quicklook else None
        total = len(split(window, options.tile, sharpeners[0].step))
        pixels = 0
        progress(0, total, pixels)
        with CogWriter(
            staging.path(output.name), grid, radiometry, dtype, options.compression
        ) as writer:
            with closing(
                sharpen_windows(product, window, sharpeners, options.tile, stages("compute"))
            ) as pieces:
                for done, piece in enumerate(pieces, start=1):
                    images = piece.dn if dtype == "uint16" else reflectance_of(piece, radiometry)
                    writer.write(piece.core.relative_to(window), images)
                    for name, sums in piece.residuals.items():
                        residuals[name] += sums
                    if shot:
                        shot.add(piece)
                    pixels += piece.core.width * piece.core.height
                    progress(done, total, pixels)
            log.info("writing the Cloud-Optimized GeoTIFF")
            with stages("encode"):
                writer.finish({"SOFTWARE": f"decametre {__version__}", "SOURCE": product.id})
        quality = quality_card(
            product,
            window,
            bands,
            [model.card for model in models],
            residuals,
            writer.statistics,
            device=", ".join(str(device) for device in devices),
            precision=str(precision).removeprefix("torch."),
            consistent=options.consistent,
        )
        files = {"quality": f"{output.stem}.quality.json"}
        dump(staging.path(files["quality"]), quality)
        if shot and (drawn := shot.draw()) is not None:
            files["thumbnail"] = f"{output.stem}.quicklook.png"
            picture.write_png(staging.path(files["thumbnail"]), drawn)
        elif shot:
            log.warning("no picture: it needs B05, B8A and B12, or B01 and B09, among --bands")
        tags = {name: statistics.tags for name, statistics in writer.statistics.items()}
        settings = settings_of(models, bands, product.asked_offset_dn, options) | {
            "window": None if window == product.grid.window else quality["window"]
        }
        item = result_item(product, grid, output, radiometry, tags, quality, settings, files, dtype)
        item_name = f"{output.stem}.json"
        dump(staging.path(item_name), item.to_dict(include_self_link=False))
        staging.commit(output.name, *files.values(), item_name)
    return Result(
        output,
        output.with_name(item_name),
        output.with_name(files["quality"]),
        output.with_name(files["thumbnail"]) if "thumbnail" in files else None,
        quality,
    )


def check_choices(options: Options) -> None:
    """Refuse what is none of the choices.

    Raises:
        UnknownNameError: The encoding, compression or precision is none.
    """
    if options.encoding not in ENCODINGS:
        raise UnknownNameError("encoding", options.encoding, ENCODINGS)
    if options.compression not in COMPRESSIONS:
        raise UnknownNameError("compression", options.compression, COMPRESSIONS)
    if options.precision not in PRECISIONS:
        raise UnknownNameError("precision", options.precision, PRECISIONS)


def settings_of(
    models: Sequence[Model], bands: Sequence[str], offset_dn: float | None, options: Options
) -> dict[str, Any]:
    """All that a result depends on beside the product, its part and the version, as JSON.

    What only costs time or memory is not in it. It stands in the item, so that it can be told
    whether a result is what another run would make.

    Args:
        models: From `registry.models_for`.
        bands: Bands of the output.
        offset_dn: Radiometric offset that was asked for, or None.
        options: How.
    """
    return {
        "models": {model.card.name: model.card.checksum for model in models},
        "bands": list(bands),
        "offset_dn": offset_dn,
        "precision": options.precision,
        "consistent": options.consistent,
        "encoding": options.encoding,
        "compression": options.compression,
        "quicklook": options.quicklook,
    }


def check_apart(product: Product, output: Path) -> None:
    """Refuse to write into the input.

    Raises:
        OutputError: The output is one of the product's files or lies inside its SAFE folder.
    """
    if "://" in product.source:
        return
    source, target = Path(product.source).resolve(), output.resolve()
    for folder in (source, *source.parents):
        inside = folder.suffix == ".SAFE" or (folder == source and source.is_dir())
        if inside and folder in target.parents:
            raise OutputError(f"{output} lies inside the input {folder}; write it elsewhere")
    inputs = {Path(file.path).resolve() for file in product.bands.values()}
    beside = {target.with_name(f"{target.stem}{end}") for end in (".json", ".quality.json")}
    if inputs & {target} or source in {target, *beside}:
        raise OutputError(f"{output} would overwrite the input {product.source}; write elsewhere")


def reflectance_of(
    piece: SharpenedWindow, radiometry: Mapping[str, Radiometry]
) -> dict[str, np.ndarray]:
    """Every band of a window as float32 reflectance, NaN without data."""
    images = dict(piece.reflectance)
    for name in piece.dn.keys() - images.keys():
        dn = piece.dn[name]
        images[name] = measured_reflectance(dn, radiometry[name])
    return images


def measured_reflectance(dn: np.ndarray, radiometry: Radiometry) -> np.ndarray:
    """Reflectance, float32, with NaN where there is no measurement."""
    return np.where(radiometry.valid(dn), radiometry.to_reflectance(dn), np.float32(np.nan))


def dump(path: Path, content: dict[str, Any]) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class Snapshot:
    """Collects what the before/after picture shows: a square in the middle of the window."""

    def __init__(self, product: Product, window: Window, bands: Sequence[str]) -> None:
        step = 6
        width = min(picture.EDGE, window.width) // step * step
        height = min(picture.EDGE, window.height) // step * step
        col = window.col + (window.width - width) // 2 // step * step
        row = window.row + (window.height - height) // 2 // step * step
        self.square = Window(col, row, width, height)
        self.product = product
        self.bands = [n for n in bands if any(n in names for names in picture.COMPOSITES)]
        self.after = {n: np.full((height, width), np.nan, np.float32) for n in self.bands}

    def add(self, piece: SharpenedWindow) -> None:
        """Keep the part of a core that lies in the square."""
        common = piece.core.intersection(self.square)
        if common.width and common.height:
            for name in self.bands:
                into = common.relative_to(self.square).slices
                self.after[name][into] = piece.reflectance[name][
                    common.relative_to(piece.core).slices
                ]

    def draw(self) -> np.ndarray | None:
        """The picture, or None where the bands make no composite."""
        before = {}
        with BandReader(self.product, self.bands) as reader:
            for name in self.bands:
                dn = reader.read(name, self.square)
                before[name] = measured_reflectance(dn, self.product.bands[name].radiometry)
        return picture.draw(before, self.after)
