"""The work of a fleet: the job that the verb for one product does, for each product."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from decametre.device import choose_devices
from decametre.errors import FleetError, NoPatchError
from decametre.fleet.events import events_path, run_events
from decametre.io.outputs import write_json
from decametre.io.staging import Staging
from decametre.landcover.extraction.extraction_job import extract
from decametre.landcover.extraction.options import ExtractOptions
from decametre.landcover.extraction.planning import Request, check_request
from decametre.landcover.extraction.stac_item import store_item
from decametre.landcover.mapping import mapping_job
from decametre.landcover.mapping.options import PredictOptions
from decametre.landcover.mapping.pixel_source import sharpening_models
from decametre.landcover.models.card import LandCoverModel, load_land_cover
from decametre.progress import silent
from decametre.sentinel2.grid import Window
from decametre.sentinel2.local_copy import copy_bands
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.options import parse_offset
from decametre.sentinel2.parts import choose_window
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import Model, models_for
from decametre.superres.sharpening import sharpening_job
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.sharpened_product import Stages, settings_of
from decametre.superres.sharpening.sharpener import inputs_of

log = logging.getLogger(__name__)

BASE_MEMORY = 900_000_000
"""Bytes that a worker with torch and a network uses without a product."""


@dataclass(frozen=True)
class ProductSummary:
    """What the journal records of a result.

    Attributes:
        product: Id of the product.
        pixels: Number of 10 m pixels.
        device: Device that computed it.
        consistency: The consistency residuals in the quality card, by band.
        picture: Path of the before/after picture, or None.
    """

    product: str
    pixels: int
    device: str
    consistency: Mapping[str, Any] = field(default_factory=dict)
    picture: Path | None = None


class Work(Protocol):
    """What a fleet does with each product. Workers receive a pickled copy."""

    @property
    def verb(self) -> str:
        """Subcommand of `decametre fleet`."""

    @property
    def suffix(self) -> str:
        """Suffix of the result's main file; the STAC item is next to it."""

    def check(self) -> None:
        """Check the options before the fleet starts.

        Raises:
            DecametreError: No product could be processed, since an option is invalid or a file
                that it names cannot be used.
        """

    def settings(self) -> dict[str, Any]:
        """All that a result depends on besides the product and the version, as in its STAC item.

        Raises:
            DecametreError: A model cannot be loaded.
        """

    def memory(self, size: int | None) -> int:
        """Bytes of memory that a worker needs for a product with an input of `size` bytes."""

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """Process one product.

        Args:
            source: Path or URL of the product.
            output: The main file of the result; its folder exists. Existing files are replaced.
            stages: Context manager around each stage.
            scratch: Folder on a faster disk for a copy of the input, or None.

        Raises:
            DecametreError: The product cannot be processed.
        """


class _RasterWork:
    """Work that reads a product, or its copy in a scratch folder, and writes a GeoTIFF."""

    suffix = ".tif"
    options: SharpenOptions | PredictOptions

    def memory(self, size: int | None) -> int:
        """As measured for full products (docs/reports/speed.md), and less for small ones."""
        full = 3_600_000_000
        return BASE_MEMORY + (full if size is None else min(full, 300_000_000 + 100 * size))

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """Process one product."""
        with stages("open"):
            self._load_models()
            product = open_product(source, self.options.offset)
        if scratch is not None:
            with stages("stage_in"):
                product = copy_bands(product, self._bands(product), scratch)
        return self._write(product, output, stages)

    def _load_models(self) -> Any:
        """The models, cached per process."""
        raise NotImplementedError

    def _bands(self, product: Product) -> Iterable[str]:
        """The bands that are read."""
        raise NotImplementedError

    def _write(self, product: Product, output: Path, stages: Stages) -> ProductSummary:
        """Compute and write the result of an open product."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sharpen(_RasterWork):
    """`decametre sharpen` for many products.

    Attributes:
        options: How each complete product is sharpened.
    """

    options: SharpenOptions

    verb = "sharpen"

    def check(self) -> None:
        """The options model has checked the options already."""

    def settings(self) -> dict[str, Any]:
        """As `sharpened_product.settings_of`, for complete products."""
        offset_dn = parse_offset(self.options.offset)
        settings = settings_of(self._load_models(), offset_dn, self.options)
        return settings | {"window": None}

    def _load_models(self) -> Sequence[Model]:
        return _models(self.options.bands, self.options.model)

    def _bands(self, product: Product) -> Iterable[str]:
        return inputs_of(self._load_models(), self.options.bands)

    def _write(self, product: Product, output: Path, stages: Stages) -> ProductSummary:
        window = choose_window(product, aoi=self.options.aoi)
        options = self.options.replaced(overwrite=True)
        models = self._load_models()
        # A fleet lists a product that lacks a band as failed: all of its results have equal bands.
        product.band_files(self._bands(product))
        result = sharpening_job.run(product, output, models, window, options, stages=stages)
        consistency = {
            name: band["consistency"]
            for name, band in result.quality["bands"].items()
            if "consistency" in band
        }
        pixels = window.width * window.height
        device = result.quality["device"]
        return ProductSummary(product.id, pixels, device, consistency, result.quicklook_path)


@dataclass(frozen=True)
class Predict(_RasterWork):
    """`decametre landcover predict` for many products.

    Attributes:
        options: How each complete product is mapped.
    """

    options: PredictOptions

    verb = "predict"

    def check(self) -> None:
        """Check that the super-resolution models match the land-cover model."""
        card = self._load_models().card
        mapping_job.check_images(card, None, self.options)
        if card.sharpened:
            sharpening_models(card, self.options.sharpen_with)

    def settings(self) -> dict[str, Any]:
        """As `mapping_job.settings_of`, for complete products."""
        offset_dn = parse_offset(self.options.offset)
        settings = mapping_job.settings_of(self._load_models().card, offset_dn, self.options)
        return settings | {"window": None}

    def _load_models(self) -> LandCoverModel:
        return _land_cover(self.options.model)

    def _bands(self, product: Product) -> Iterable[str]:
        return product.bands

    def _write(self, product: Product, output: Path, stages: Stages) -> ProductSummary:
        window = choose_window(product, aoi=self.options.aoi)
        options = self.options.replaced(overwrite=True)
        with stages("compute"):
            mapping_job.run(product, output, self._load_models(), window, None, options)
        device = choose_devices(options.device)[0]
        return ProductSummary(product.id, window.width * window.height, str(device))


@dataclass(frozen=True)
class Extract:
    """`decametre patches extract` for many products, with one store for each.

    A product that contains none of the patches gets a STAC item without a store.

    Attributes:
        options: Which patches are cut from each product.
        sharpened: Output folder of `decametre fleet sharpen` for `data_super`, or None.
    """

    options: ExtractOptions
    sharpened: str | None = None

    verb = "extract"
    suffix = ".h5"

    def check(self) -> None:
        """Check the lists and the folder of sharpened images."""
        if self.sharpened is not None and not Path(self.sharpened).is_dir():
            raise FleetError(
                f"{self.sharpened}: no such folder; give the OUT of `decametre fleet sharpen`"
            )
        check_request(Request.of((), self.options), self.sharpened is not None)

    def settings(self) -> dict[str, Any]:
        """The request with size and time of its lists, and the settings of the sharpened images."""
        request = Request.of((), self.options)
        settings = request.fingerprint() | {"sharpened": _sharpened(self.sharpened)}
        return {key: value for key, value in settings.items() if key != "products"}

    def memory(self, size: int | None) -> int:
        """The same for products of any size (docs/extraction.md)."""
        return BASE_MEMORY + 1_000_000_000

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """Process one product."""
        with stages("open"):
            product = open_product(source, self.options.offset)
        tiles: tuple[Path, ...] = ()
        if self.sharpened is not None:
            tiles = (Path(self.sharpened, output.stem, f"{output.stem}.tif"),)
        request = Request.of((source,), self.options.replaced(sharpened=tiles))
        store, name = output.name, f"{output.stem}.json"
        with Staging(output, (name, store), overwrite=True, needed=0) as staging:
            with stages("compute"):
                patches, left_out = _extracted(request, staging.path(store))
            item = store_item(product, output, patches, left_out, self.settings())
            write_json(staging.path(name), item)
            staging.commit(*([store] if patches else []), name)
        return ProductSummary(product.id, product.grid.width * product.grid.height, "cpu")


def _extracted(request: Request, store: Path) -> tuple[int, Mapping[str, int]]:
    """Number of patches cut, and of skipped ones by reason; there is no store without patches."""
    try:
        done = extract(request, store, 1, _no_sharpening, overwrite=False, progress=silent)
    except NoPatchError as error:  # of a list for other products
        log.warning("%s", error)
        return 0, error.left_out
    return done.patches, done.left_out


def _sharpened(folder: str | None) -> dict[str, Any] | None:
    """Version and settings of the sharpened images in a folder."""
    if folder is None:
        return None
    path = events_path(Path(folder))
    if not path.exists():
        return {"folder": folder}
    state = path.stat()
    return {"folder": folder, **_latest_run(Path(folder), state.st_size, state.st_mtime_ns)}


@functools.cache
def _latest_run(folder: Path, size: int, changed: int) -> dict[str, Any]:
    """Version and settings of the latest run. They are cached, since a journal may be long."""
    runs = list(run_events(folder))
    return {key: runs[-1][key] for key in ("version", "settings")} if runs else {}


def _no_sharpening(product: Product, output: Path, window: Window) -> None:
    raise AssertionError(f"{product.id}: a fleet only reads sharpened images")


@functools.cache
def _models(bands: tuple[str, ...], names: tuple[str, ...]) -> Sequence[Model]:
    """Super-resolution models, loaded once per worker. Jobs copy a model before they run it."""
    return models_for(bands, names)


@functools.cache
def _land_cover(folder: Path) -> LandCoverModel:
    """A land-cover model, loaded once per worker."""
    return load_land_cover(folder)
