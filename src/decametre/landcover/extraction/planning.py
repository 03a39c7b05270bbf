"""Plan an extraction: which patches are cut from which product by which worker."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from decametre.errors import PatchError
from decametre.files import check_space
from decametre.landcover.extraction.collecting import (
    PatchSelection,
    ProductPatches,
    collect_patches,
    count_left_out,
)
from decametre.landcover.extraction.label_raster import read_label_raster
from decametre.landcover.extraction.options import ExtractOptions
from decametre.landcover.extraction.output_files import StoreFiles
from decametre.landcover.extraction.patch_lists import CompleteGrid, PatchList, read_patch_list
from decametre.landcover.extraction.plan import ExtractionPlan, PlannedPatch, ProductInput
from decametre.landcover.extraction.screening import read_exclusions
from decametre.landcover.extraction.work_distribution import distributions
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.nomenclature import BIGEARTHNET19, CORINE43, Nomenclature
from decametre.landcover.patches.patch import NATIVE_KEYS, PATCH_METRES, POSITION_STEP
from decametre.options import PathLike, located
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product
from decametre.superres.sharpening.sharpened_tile import SharpenedTile, open_sharpened
from decametre.text import counted

log = logging.getLogger(__name__)

Sharpen = Callable[[Product, Path, Window], object]
"""Sharpens a window of a product, in 10 m pixels, into a GeoTIFF with its STAC item."""

TILES = "sharpened"
"""Folder of the tiles that the extraction sharpens itself."""


class Request(ExtractOptions):
    """Which patches are cut from which products."""

    products: tuple[str, ...]
    """Anything that `open_product` accepts."""

    @classmethod
    def of(cls, products: Sequence[PathLike], options: ExtractOptions) -> Request:
        """The request of a user; paths become absolute."""
        given = {name: getattr(options, name) for name in options.model_fields_set}
        return cls(products=tuple(located(path) for path in products), **given)

    def facts(self) -> dict[str, Any]:
        """All that the result depends on besides the products' content, as JSON."""
        unused = {"no_cloud", "no_shadow", "no_snow", "model", "device", "workers", "overwrite"}
        facts = self.model_dump(mode="json", exclude=unused)
        return facts | {"models": list(self.model), "screen": list(self.screen)}

    def fingerprint(self) -> dict[str, Any]:
        """All that the result depends on, the size and time of the lists included, as JSON."""
        lists = [self.patches, self.labels, self.label_names, *self.exclude]
        states = {
            str(path): [path.stat().st_size, path.stat().st_mtime_ns]
            for path in lists
            if path is not None and path.exists()
        }
        return self.facts() | {"files": states}


def make_plan(
    request: Request, output: Path, folder: Path, workers: int, sharpen: Sharpen
) -> ExtractionPlan:
    """Decide which patches are cut from which product by which worker, and save the plan.

    Args:
        request: What to cut.
        output: The store.
        folder: The work folder.
        workers: Number of workers.
        sharpen: Sharpens products without a tile if `request.sharpen` is set.

    Raises:
        DecametreError: A mistake of the user.
    """
    products = [open_product(source, request.offset) for source in request.products]
    repeated = [id for id, count in Counter(each.id for each in products).items() if count > 1]
    if repeated:
        raise PatchError(f"product {repeated[0]} is given twice")
    tiles = _tiles(request, products)
    keys = _keys(request, bool(tiles) or request.sharpen)
    missing = [p.id for p in products if p.id not in tiles]
    if tiles and missing and not request.sharpen:
        raise PatchError(f"{missing[0]}: no sharpened tile is given; sharpen it, or use --sharpen")
    selection = _selection(request)
    collected = [collect_patches(p, tiles.get(p.id), keys, selection) for p in products]
    left_out = count_left_out(selection, collected)
    collected = [each for each in collected if each.patches]
    if request.sharpen:
        collected = [
            _sharpened(each, folder, number, sharpen) for number, each in enumerate(collected)
        ]
        tiles = {each.product.id: open_sharpened(Path(each.tile or "")) for each in collected}
    header = Header(
        nomenclature=selection.nomenclature,
        keys=keys,
        model=_model(tiles),
        attribution=_attribution(products),
        job=_job_text(request),
    )
    shares = _distribute(collected, workers)
    counts = tuple(map(len, shares))
    check_space(output, sum(counts) * header.patch_bytes)
    inputs = tuple(ProductInput(c.product.source, request.offset, c.tile) for c in collected)
    plan = ExtractionPlan(folder, StoreFiles(output).shards.name, header, inputs, counts, left_out)
    plan.save(shares)
    return plan


def check_request(request: Request, sharpened: bool) -> None:
    """Check a request without opening a product.

    Args:
        request: What to cut; its products are ignored.
        sharpened: Whether there will be sharpened tiles.

    Raises:
        PatchError: A list cannot be read, or options contradict each other.
    """
    _keys(request, sharpened)
    _selection(request)


def _distribute(collected: Sequence[ProductPatches], workers: int) -> list[list[PlannedPatch]]:
    """Assign the patches to workers; a worker without patches is dropped."""
    numbers = {each.product.id: number for number, each in enumerate(collected)}
    best = distributions({each.product.id: len(each.patches) for each in collected}, workers)[0]
    shares = [
        [
            (numbers[piece.product], patch)
            for piece in share
            for patch in collected[numbers[piece.product]].patches[piece.start : piece.stop]
        ]
        for share in best.shares
        if share
    ]
    log.info(
        "%s of %s for %s: %s, imbalance %.3f",
        counted(sum(best.counts), "patch"),
        counted(len(collected), "product"),
        counted(len(shares), "worker"),
        best.method,
        best.imbalance,
    )
    return shares


def _selection(request: Request) -> PatchSelection:
    """Read the lists of a request."""
    label_raster = None
    if request.labels is not None:
        names = Path(request.label_names) if request.label_names else None
        label_raster = read_label_raster(Path(request.labels), names, request.label_share)
    if request.patches is None:
        listed: PatchList = CompleteGrid(request.stride)
    elif request.stride != PATCH_METRES:
        raise PatchError(
            f"{request.patches} states the positions of its patches; omit the list or the stride"
        )
    else:
        listed = read_patch_list(Path(request.patches), request.label_column)
    return PatchSelection(
        listed,
        label_raster,
        _nomenclature(request, (label_raster or listed).nomenclature),
        read_exclusions(map(Path, request.exclude)),
        request.screen,
        request.limit,
        request.skip_misfits,
    )


def _keys(request: Request, sharpened: bool) -> tuple[str, ...]:
    """Keys of the images to store.

    Raises:
        PatchError: There would be none.
    """
    keys = (*(NATIVE_KEYS if request.native else ()), *(["data_super"] if sharpened else ()))
    if not keys:
        raise PatchError("patches hold nothing with --no-native and no sharpened tile; omit it")
    return keys


def _tiles(request: Request, products: Sequence[Product]) -> dict[str, SharpenedTile]:
    """The sharpened tiles given by the user, by the id of their product."""
    known = {product.id for product in products}
    tiles: dict[str, SharpenedTile] = {}
    for path in request.sharpened:
        tile = open_sharpened(Path(path))
        if tile.product not in known:
            raise PatchError(
                f"{path}: was made from {tile.product}, which is not one of the products given"
            )
        if tile.product in tiles:
            raise PatchError(
                f"{path} and {tiles[tile.product].path} were both made from {tile.product}; give "
                "one of them"
            )
        tiles[tile.product] = tile
    return tiles


def _nomenclature(request: Request, labels: Nomenclature) -> Nomenclature:
    """The nomenclature of the store, given that of the labels."""
    if request.classes in (None, len(labels.classes)):
        return labels
    if labels == CORINE43 and request.classes == len(BIGEARTHNET19.classes):
        return BIGEARTHNET19
    if request.classes == len(CORINE43.classes) and set(labels.classes) <= set(CORINE43.classes):
        return CORINE43
    raise PatchError(
        f"the labels are of nomenclature '{labels.name}' with {len(labels.classes)} classes, which "
        f"cannot be converted to {request.classes}"
    )


def _sharpened(
    collected: ProductPatches, folder: Path, number: int, sharpen: Sharpen
) -> ProductPatches:
    """The same with a sharpened tile, which is made if there is none."""
    if collected.tile:
        return collected
    (folder / TILES).mkdir(exist_ok=True)
    path = folder / TILES / f"{number:04d}.tif"
    windows = [patch.window for patch in collected.patches]
    col, row = min(w.col for w in windows), min(w.row for w in windows)
    right, bottom = max(w.right for w in windows), max(w.bottom for w in windows)
    part = Window(col, row, right - col, bottom - row).snapped(POSITION_STEP // FINEST_GSD)
    if not path.with_suffix(".json").exists():  # an earlier run that was killed may have made it
        log.info("sharpening %s", collected.product.id)
        sharpen(collected.product, path, part)
    return replace(collected, tile=str(path))


def _model(tiles: Mapping[str, SharpenedTile]) -> str:
    """The models that made all tiles.

    Raises:
        PatchError: Tiles were made by different models.
    """
    models = {tile.model: tile.path for tile in tiles.values()}
    if len(models) > 1:
        (one, first), (two, second) = list(models.items())[:2]
        raise PatchError(
            f"{first} was sharpened by {one}, {second} by {two}; sharpen all by the same models"
        )
    return next(iter(models), "")


def _attribution(products: Sequence[Product]) -> str:
    years = sorted({product.datetime[:4] for product in products if product.datetime})
    span = "-".join(dict.fromkeys((years[0], years[-1]))) if years else ""
    return f"contains modified Copernicus Sentinel data {span}".strip()


def _job_text(request: Request) -> str:
    """The `job` of the store's header: the list of patches, and a checksum of the request."""
    text = json.dumps(request.facts(), sort_keys=True)
    checksum = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"decametre patches extract --patches {request.patches or 'none'} (request {checksum})"
