"""What a fleet does with each product: the jobs that one product gets from the other verbs."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from decametre.device import choose_devices
from decametre.errors import FleetError, NoPatchError
from decametre.fleet.events import events_path, read_events
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
from decametre.sentinel2.local_copy import copied
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.options import parse_offset
from decametre.sentinel2.product import Product
from decametre.superres.models.registry import Model, models_for
from decametre.superres.sharpening import sharpening_job
from decametre.superres.sharpening.options import SharpenOptions
from decametre.superres.sharpening.sharpener import inputs_of
from decametre.superres.sharpening.sharpening_job import Stages

log = logging.getLogger(__name__)

BASE_MEMORY = 900_000_000
"""Bytes that a worker with torch and a network has before a product's pixels come."""


@dataclass(frozen=True)
class ProductSummary:
    """What the journal says of a result.

    Attributes:
        product: The product's id.
        pixels: 10 m pixels that were done.
        device: Where it was computed.
        consistency: By band, the residual of the quality card.
        picture: The before/after picture, or None.
    """

    product: str
    pixels: int
    device: str
    consistency: Mapping[str, Any] = field(default_factory=dict)
    picture: Path | None = None


class Work(Protocol):
    """One kind of work. It is sent to the workers, so it holds plain values only."""

    @property
    def verb(self) -> str:
        """What the command is called."""

    @property
    def suffix(self) -> str:
        """Of the file that is made, beside which the item stands."""

    def check(self) -> None:
        """Refuse what no product could be made with; called once, where the fleet is started.

        Raises:
            DecametreError: An option makes no sense, or a file that it names cannot be used.
        """

    def settings(self) -> dict[str, Any]:
        """All that a result depends on beside the product and the version, as in its item.

        Raises:
            DecametreError: A model is not here.
        """

    def memory(self, size: int | None) -> int:
        """Bytes that a worker needs for a product with so many bytes of input."""

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """Make one result.

        Args:
            source: The product.
            output: The file; its folder exists. What stands there may be replaced.
            stages: What surrounds each stage.
            scratch: A folder on a faster disk for a copy of the input, or None.

        Raises:
            DecametreError: The product cannot be done.
        """


@dataclass(frozen=True)
class Sharpen:
    """`decametre sharpen` over many products.

    Attributes:
        options: How each product is sharpened, completely.
    """

    options: SharpenOptions

    verb = "sharpen"
    suffix = ".tif"

    def check(self) -> None:
        """Nothing: the options are checked where they are made."""

    def settings(self) -> dict[str, Any]:
        """As `sharpening_job.settings_of`, over whole products."""
        models = _models(self.options.bands, self.options.model)
        offset_dn = parse_offset(self.options.offset)
        return sharpening_job.settings_of(models, offset_dn, self.options) | {"window": None}

    def memory(self, size: int | None) -> int:
        """The most that a full tile takes (docs/reports/speed.md), and less for what is small."""
        full = BASE_MEMORY + 3_600_000_000
        return full if size is None else min(full, BASE_MEMORY + 300_000_000 + 100 * size)

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """One product."""
        with stages("open"):
            models = _models(self.options.bands, self.options.model)
            product = open_product(source, self.options.offset)
        product = _staged(product, inputs_of(models, self.options.bands), stages, scratch)
        whole = product.grid.window
        result = sharpening_job.run(
            product,
            output,
            models,
            whole,
            self.options.replaced(overwrite=True),
            stages=stages,
        )
        consistency = {
            name: band["consistency"]
            for name, band in result.quality["bands"].items()
            if "consistency" in band
        }
        return ProductSummary(
            product.id,
            whole.width * whole.height,
            result.quality["device"],
            consistency,
            result.quicklook_path,
        )


@dataclass(frozen=True)
class Predict:
    """`decametre landcover predict` over many products.

    Attributes:
        options: How each product is mapped, completely.
    """

    options: PredictOptions

    verb = "predict"
    suffix = ".tif"

    def check(self) -> None:
        """Whether the models that sharpen suit the model that classifies."""
        card = _land_cover(self.options.model).card
        mapping_job.check_images(card, None, self.options)
        if card.sharpened:
            sharpening_models(card, self.options.sharpen_with)

    def settings(self) -> dict[str, Any]:
        """As `mapping_job.settings_of`, over whole products."""
        card = _land_cover(self.options.model).card
        offset_dn = parse_offset(self.options.offset)
        return mapping_job.settings_of(card, offset_dn, self.options) | {"window": None}

    def memory(self, size: int | None) -> int:
        """As for sharpening, which may be a part of it."""
        full = BASE_MEMORY + 3_600_000_000
        return full if size is None else min(full, BASE_MEMORY + 300_000_000 + 100 * size)

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """One product."""
        with stages("open"):
            model = _land_cover(self.options.model)
            product = open_product(source, self.options.offset)
        product = _staged(product, product.bands, stages, scratch)
        with stages("compute"):
            mapping_job.run(
                product,
                output,
                model,
                product.grid.window,
                None,
                self.options.replaced(overwrite=True),
            )
        device = choose_devices(self.options.device)[0]
        return ProductSummary(product.id, product.grid.width * product.grid.height, str(device))


@dataclass(frozen=True)
class Extract:
    """`decametre patches extract` over many products, a store each.

    A product without any of the patches is completed, too: it gets an item but no store.

    Attributes:
        options: Which patches are cut from each product.
        sharpened: The folder of results of `decametre fleet sharpen`, for `data_super`, or None.
    """

    options: ExtractOptions
    sharpened: str | None = None

    verb = "extract"
    suffix = ".h5"

    def check(self) -> None:
        """The lists, and the folder of sharpened tiles."""
        if self.sharpened is not None and not Path(self.sharpened).is_dir():
            raise FleetError(
                f"{self.sharpened}: no such folder; give the results of `decametre fleet sharpen`"
            )
        check_request(Request.of((), self.options), self.sharpened is not None)

    def settings(self) -> dict[str, Any]:
        """The request, with the size and time of the lists in it, and how the tiles were made."""
        request = Request.of((), self.options)
        facts = request.fingerprint() | {"sharpened": _sharpened(self.sharpened)}
        return {key: value for key, value in facts.items() if key != "products"}

    def memory(self, size: int | None) -> int:
        """What docs/extraction.md has, whatever the product."""
        return BASE_MEMORY + 1_000_000_000

    def do(self, source: str, output: Path, stages: Stages, scratch: Path | None) -> ProductSummary:
        """One product."""
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
    """How many patches were cut, and how many were left out, by reason; without any, no store."""
    try:
        done = extract(request, store, 1, _no_sharpening, overwrite=False, progress=silent)
    except NoPatchError as error:  # a list may be for some of the products
        log.warning("%s", error)
        return 0, error.left_out
    return done.patches, done.left_out


def _sharpened(folder: str | None) -> dict[str, Any] | None:
    """How the latest fleet made the tiles of a folder."""
    if folder is None:
        return None
    path = events_path(Path(folder))
    if not path.exists():
        return {"folder": folder}
    state = path.stat()
    return {"folder": folder, **_latest_run(Path(folder), state.st_size, state.st_mtime_ns)}


@functools.cache
def _latest_run(folder: Path, size: int, changed: int) -> dict[str, Any]:
    """Version and settings of the latest run; a journal may have 100,000 lines."""
    runs = [event for event in read_events(folder) if event["event"] == "run"]
    return {key: runs[-1][key] for key in ("version", "settings")} if runs else {}


def _no_sharpening(product: Product, output: Path, window: Window) -> None:
    raise AssertionError(f"{product.id} was to be sharpened before")


def _staged(
    product: Product, bands: Iterable[str], stages: Stages, scratch: Path | None
) -> Product:
    """The product, from copies where there is a scratch folder."""
    if scratch is None:
        return product
    with stages("stage_in"):
        return copied(product, bands, scratch)


@functools.cache
def _models(bands: tuple[str, ...], names: tuple[str, ...]) -> Sequence[Model]:
    """Loaded once a worker; whoever runs a model makes a copy of its own."""
    return models_for(bands, names)


@functools.cache
def _land_cover(folder: Path) -> LandCoverModel:
    """Loaded once a worker."""
    return load_land_cover(folder)
