"""Which patches are cut from which product and by whom, decided once and written down."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decametre.errors import NoPatchError, OutputError, PatchError
from decametre.landcover.extraction.cutting import Source
from decametre.landcover.extraction.label_raster import LabelRaster, read_label_raster
from decametre.landcover.extraction.patch_lists import read_patch_list
from decametre.landcover.extraction.placing import COARSEST, PatchList, PlacedPatch, WholeGrid
from decametre.landcover.extraction.plan import Job, Origin
from decametre.landcover.extraction.screening import (
    leave_out_listed,
    leave_out_spoiled,
    read_exclusions,
)
from decametre.landcover.extraction.work_distribution import plans
from decametre.landcover.patches.file_format import Header
from decametre.landcover.patches.nomenclature import (
    BIGEARTHNET19,
    CORINE43,
    Nomenclature,
    to_nineteen,
)
from decametre.landcover.patches.patch import NATIVE_KEYS, PATCH_METRES
from decametre.sentinel2.bands import FINEST_GSD
from decametre.sentinel2.grid import Window
from decametre.sentinel2.opening import open_product
from decametre.sentinel2.product import Product
from decametre.superres.sharpening.sharpened_tile import SharpenedTile, open_sharpened

log = logging.getLogger(__name__)

Sharpen = Callable[[Product, Path, Window], object]
"""Sharpens a window of a product, in 10 m pixels, into a GeoTIFF with its item beside it."""

TILES = "sharpened"
"""Folder of the tiles that are sharpened on the way."""


def shards_folder(output: Path) -> Path:
    """Where the shards of a store lie."""
    return output.with_suffix(".shards")


@dataclass(frozen=True)
class Request:
    """What a user asks for; see `decametre.api.extract_patches`."""

    products: tuple[str, ...]
    patches: str | None
    stride: int
    label_column: str
    labels: str | None
    label_names: str | None
    label_share: float
    classes: int | None
    sharpened: tuple[str, ...]
    sharpen: bool
    models: tuple[str, ...]
    native: bool
    exclude: tuple[str, ...]
    screen: tuple[str, ...]
    limit: float
    skip_misfits: bool
    offset: str | float

    def fingerprint(self) -> dict[str, Any]:
        """All that the result depends on, the state of the lists included."""
        lists = [self.patches, self.labels, self.label_names, *self.exclude]
        paths = [Path(path) for path in lists if path is not None]
        states = {
            str(path): [path.stat().st_size, path.stat().st_mtime_ns]
            for path in paths
            if path.exists()
        }
        facts: dict[str, Any] = json.loads(json.dumps(asdict(self) | {"files": states}))
        return facts


@dataclass(frozen=True)
class _Surveyed:
    """What is to be cut from a product."""

    product: Product
    origin: Origin
    patches: list[PlacedPatch]
    misfits: Mapping[str, str]
    left_out: Counter[str]
    settled: frozenset[str]  # names in the list that are in `patches`, or rightly left out


def decide(request: Request, output: Path, folder: Path, workers: int, sharpen: Sharpen) -> None:
    """Find every patch, leave out what has to be, spread the rest over shards, write it down."""
    products = [open_product(source, request.offset) for source in request.products]
    double = [id for id, count in Counter(each.id for each in products).items() if count > 1]
    if double:
        raise PatchError(f"product {double[0]} is given twice")
    tiles = _tiles(request, products)
    keys = _keys(request, bool(tiles) or request.sharpen)
    lacking = [p.id for p in products if p.id not in tiles]
    if tiles and lacking and not request.sharpen:
        raise PatchError(f"{lacking[0]}: no sharpened tile is given; sharpen it, or use --sharpen")
    lists = _read_lists(request)
    surveyed = [
        _survey(request, product, tiles.get(product.id), lists, keys) for product in products
    ]
    if lists.labels_are_of == CORINE43 and lists.nomenclature == BIGEARTHNET19:
        surveyed = [_in_nineteen(each) for each in surveyed]
    left_out = _account(request, lists.wanted, surveyed)
    surveyed = [each for each in surveyed if each.patches]
    if request.sharpen:
        surveyed = [
            _sharpened(each, folder, number, sharpen) for number, each in enumerate(surveyed)
        ]
        tiles = {e.product.id: open_sharpened(Path(e.origin.tile or "")) for e in surveyed}
    header = Header(
        nomenclature=lists.nomenclature,
        keys=keys,
        model=_model(tiles),
        attribution=_attribution(products),
        job=_job_text(request),
    )
    by_id = {each.product.id: (number, each) for number, each in enumerate(surveyed)}
    plan = plans({each.product.id: len(each.patches) for each in surveyed}, workers)[0]
    shares = [
        [
            (by_id[piece.product][0], patch)
            for piece in share
            for patch in by_id[piece.product][1].patches[piece.start : piece.stop]
        ]
        for share in plan.shares
        if share
    ]
    log.info(
        "%d patches of %d products for %d workers: %s, imbalance %.3f",
        sum(plan.counts),
        len(surveyed),
        len(shares),
        plan.method,
        plan.imbalance,
    )
    free, needed = shutil.disk_usage(output.parent).free, sum(plan.counts) * header.patch_bytes
    if free < needed:
        raise OutputError(
            f"{output}: {free / 1e6:,.0f} MB free in {output.parent}, up to {needed / 1e6:,.0f} MB "
            "needed; free some space or write elsewhere"
        )
    origins = tuple(each.origin for each in surveyed)
    counts = tuple(len(share) for share in shares)
    Job(folder, shards_folder(output).name, header, origins, counts, left_out).save(shares)


def check_request(request: Request, sharpened: bool) -> None:
    """Refuse what no product could be cut with; none is opened.

    Args:
        request: What to cut; its products do not count.
        sharpened: Whether there will be sharpened tiles.

    Raises:
        PatchError: A list cannot be read, or options do not go together.
    """
    _keys(request, sharpened)
    _read_lists(request)


@dataclass(frozen=True)
class _Lists:
    """What the files of a request say.

    Attributes:
        wanted: The patches.
        raster: A map of labels, or None.
        labels_are_of: The nomenclature of the labels in them.
        nomenclature: That of the store.
        excluded: Names of patches that are to be left out.
    """

    wanted: PatchList
    raster: LabelRaster | None
    labels_are_of: Nomenclature
    nomenclature: Nomenclature
    excluded: frozenset[str]


def _read_lists(request: Request) -> _Lists:
    raster = None
    if request.labels is not None:
        names = Path(request.label_names) if request.label_names else None
        raster = read_label_raster(Path(request.labels), names, request.label_share)
    wanted = _wanted(request)
    own = (raster or wanted).nomenclature
    excluded = read_exclusions(map(Path, request.exclude))
    return _Lists(wanted, raster, own, _nomenclature(request, own), excluded)


def _keys(request: Request, sharpened: bool) -> tuple[str, ...]:
    """What a patch holds.

    Raises:
        PatchError: Nothing.
    """
    keys = (*(NATIVE_KEYS if request.native else ()), *(["data_super"] if sharpened else ()))
    if not keys:
        raise PatchError("without native bands and without sharpened ones, patches hold nothing")
    return keys


def _wanted(request: Request) -> PatchList:
    if request.patches is None:
        return WholeGrid(stride=request.stride)
    if request.stride != PATCH_METRES:
        raise PatchError(
            f"{request.patches} says where its patches are; leave out the list or the stride"
        )
    return read_patch_list(Path(request.patches), request.label_column)


def _tiles(request: Request, products: Sequence[Product]) -> dict[str, SharpenedTile]:
    """The sharpened tiles that were given, by the id of their product."""
    known = {product.id for product in products}
    tiles: dict[str, SharpenedTile] = {}
    for path in request.sharpened:
        tile = open_sharpened(Path(path))
        if tile.product not in known:
            raise PatchError(
                f"{path}: was made of {tile.product}, which is none of the products given"
            )
        if tile.product in tiles:
            raise PatchError(
                f"{path} and {tiles[tile.product].path} were both made of {tile.product}; give one"
            )
        tiles[tile.product] = tile
    return tiles


def _nomenclature(request: Request, own: Nomenclature) -> Nomenclature:
    """The nomenclature of the store: of its own labels, or what can be made of them."""
    if request.classes in (None, len(own.classes)):
        return own
    if own == CORINE43 and request.classes == len(BIGEARTHNET19.classes):
        return BIGEARTHNET19
    if request.classes == len(CORINE43.classes) and set(own.classes) <= set(CORINE43.classes):
        return CORINE43
    raise PatchError(
        f"the labels are of nomenclature '{own.name}' with {len(own.classes)} classes, of which "
        f"the {request.classes} cannot be made"
    )


def _survey(
    request: Request,
    product: Product,
    tile: SharpenedTile | None,
    lists: _Lists,
    keys: tuple[str, ...],
) -> _Surveyed:
    native = tuple(key for key in keys if key != "data_super")
    source = Source(product, tile, keys if tile else native)
    placed = lists.wanted.on(product)
    inside = [patch for patch in placed.patches if source.extent.contains(patch.window)]
    beyond = [patch for patch in placed.patches if not source.extent.contains(patch.window)]
    misfits = dict(placed.misfits) | {
        patch.listed: f"is not wholly inside {source.tile.path}" for patch in beyond if source.tile
    }
    listed = lists.excluded.intersection(misfits)
    kept, left_out = leave_out_listed(inside, lists.excluded)
    left_out["listed"] += len(listed)
    kept, spoiled = leave_out_spoiled(product, kept, request.screen, request.limit)
    if lists.raster is not None:
        labels = lists.raster.labels(product, kept)
        kept = [replace(p, labels=own) for p, own in zip(kept, labels, strict=True)]
    origin = Origin(product.source, request.offset, tile.path if tile else None)
    misfits = {name: reason for name, reason in misfits.items() if name not in listed}
    settled = listed.union(patch.listed for patch in inside)
    return _Surveyed(product, origin, kept, misfits, left_out + spoiled, settled)


def _account(
    request: Request, wanted: PatchList, surveyed: Sequence[_Surveyed]
) -> Mapping[str, int]:
    """How many patches were left out, by reason.

    Raises:
        PatchError: Some cannot be cut, or a patch lies in two products.
        NoPatchError: None is left.
    """
    holder: dict[str, str] = {}
    for each in surveyed:
        for patch in each.patches:
            if patch.name in holder:
                raise PatchError(
                    f"patch {patch.name} lies in {holder[patch.name]} and in {each.product.id}; "
                    "give one of them, or say which in a column 'product'"
                )
            holder[patch.name] = each.product.id
    settled = frozenset[str]().union(*(each.settled for each in surveyed))
    misfits = {
        name: reason
        for each in surveyed
        for name, reason in each.misfits.items()
        if name not in settled
    }
    if misfits and not request.skip_misfits:
        name, reason = next(iter(misfits.items()))
        raise PatchError(
            f"{wanted.source}: {len(misfits)} patches cannot be cut; the first, {name}, {reason}; "
            "use --skip-misfits to leave them out"
        )
    left_out = sum((each.left_out for each in surveyed), Counter[str]())
    left_out["misfit"] = len(misfits)
    left_out["elsewhere"] = max(0, len(wanted) - len(settled) - len(misfits))
    reasons = {reason: count for reason, count in sorted(left_out.items()) if count}
    if not holder:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        given = ", ".join(_described(each.product) for each in surveyed[:3])
        asked = _first_named(wanted) if reasons.get("elsewhere") else ""
        raise NoPatchError(
            f"{wanted.source}: no patch is left to cut from {given} ({why or 'it is too small'})"
            + (f"; the list names {asked}, ..." if asked else ""),
            reasons,
        )
    return reasons


def _first_named(wanted: PatchList) -> str:
    """Some products that a list names; nothing where it names none."""
    try:
        return ", ".join(list(wanted.counts())[:3])
    except PatchError:
        return ""


def _described(product: Product) -> str:
    return f"{product.id} ({product.platform}, {product.datetime}, tile {product.tile})"


def _in_nineteen(surveyed: _Surveyed) -> _Surveyed:
    """The same with labels of the 19 classes; patches that had labels and now have none go."""
    patches = [replace(patch, labels=to_nineteen(patch.labels)) for patch in surveyed.patches]
    kept = [
        now
        for before, now in zip(surveyed.patches, patches, strict=True)
        if now.labels or not before.labels
    ]
    gone = Counter({"none of the 19 classes": len(patches) - len(kept)})
    return replace(surveyed, patches=kept, left_out=surveyed.left_out + gone)


def _sharpened(surveyed: _Surveyed, folder: Path, number: int, sharpen: Sharpen) -> _Surveyed:
    """The same with a sharpened tile; made here where none was given."""
    if surveyed.origin.tile:
        return surveyed
    (folder / TILES).mkdir(exist_ok=True)
    path = folder / TILES / f"{number:04d}.tif"
    windows = [patch.window for patch in surveyed.patches]
    col, row = min(w.col for w in windows), min(w.row for w in windows)
    right, bottom = max(w.right for w in windows), max(w.bottom for w in windows)
    part = Window(col, row, right - col, bottom - row).snapped(COARSEST // FINEST_GSD)
    if not path.with_suffix(".json").exists():  # of an earlier run, killed
        log.info("sharpening %s", surveyed.product.id)
        sharpen(surveyed.product, path, part)
    return replace(surveyed, origin=replace(surveyed.origin, tile=str(path)))


def _model(tiles: Mapping[str, SharpenedTile]) -> str:
    """What sharpened all tiles.

    Raises:
        PatchError: They were not sharpened by the same models.
    """
    models = {tile.model: tile.path for tile in tiles.values()}
    if len(models) > 1:
        (one, first), (two, second) = list(models.items())[:2]
        raise PatchError(
            f"{first} was sharpened by {one}, {second} by {two}; sharpen all by the same"
        )
    return next(iter(models), "")


def _attribution(products: Sequence[Product]) -> str:
    years = sorted({product.datetime[:4] for product in products if product.datetime})
    span = "-".join(dict.fromkeys((years[0], years[-1]))) if years else ""
    return f"contains modified Copernicus Sentinel data {span}".strip()


def _job_text(request: Request) -> str:
    """What a store says of its making: the request's lists, and a sum over all of it."""
    text = json.dumps(asdict(request), sort_keys=True)
    checksum = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"decametre patches extract --patches {request.patches or 'none'} (request {checksum})"
