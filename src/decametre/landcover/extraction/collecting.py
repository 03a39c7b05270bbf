"""Collect the patches to cut from each product, with their labels, and count the excluded ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from decametre.errors import NoPatchError, PatchError
from decametre.landcover.extraction.cutting import CuttingSource
from decametre.landcover.extraction.label_raster import LabelRaster
from decametre.landcover.extraction.patch_lists import PatchList
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.extraction.screening import exclude_by_name, exclude_by_scene_class
from decametre.landcover.patches.nomenclature import (
    BIGEARTHNET19,
    CORINE43,
    Nomenclature,
    to_nineteen,
)
from decametre.sentinel2.product import Product
from decametre.superres.sharpening.sharpened_tile import SharpenedTile
from decametre.text import counted


@dataclass(frozen=True)
class PatchSelection:
    """What decides on the patches and labels of every product.

    Attributes:
        listed: The list of patches.
        label_raster: Raster of the labels; None if they come with the list.
        nomenclature: The nomenclature of the store.
        excluded: Names of patches to exclude.
        scene_classes: Classes of the scene classification to exclude: `shadow`, `cloud`, `snow`.
        limit: Share of a patch that each of these classes may cover.
        skip_misfits: Skip patches that cannot be cut, rather than raise an error.
    """

    listed: PatchList
    label_raster: LabelRaster | None
    nomenclature: Nomenclature
    excluded: frozenset[str]
    scene_classes: tuple[str, ...]
    limit: float
    skip_misfits: bool

    @property
    def to_nineteen(self) -> bool:
        """Whether labels of 43 classes are converted to the 19."""
        labels = (self.label_raster or self.listed).nomenclature
        return (labels, self.nomenclature) == (CORINE43, BIGEARTHNET19)


@dataclass(frozen=True)
class ProductPatches:
    """The patches to cut from a product.

    Attributes:
        product: The product.
        tile: Path of its sharpened tile, or None.
        patches: The patches, by row and column.
        misfits: By name in the list, the reason why a patch cannot be cut.
        left_out: Number of excluded patches, by reason.
        handled: Names in the list that are in `patches` or were excluded.
    """

    product: Product
    tile: str | None
    patches: list[LocatedPatch]
    misfits: Mapping[str, str]
    left_out: Counter[str]
    handled: frozenset[str]


def collect_patches(
    product: Product,
    tile: SharpenedTile | None,
    keys: tuple[str, ...],
    selection: PatchSelection,
) -> ProductPatches:
    """Collect the patches to cut from a product.

    Args:
        product: The product.
        tile: Its sharpened tile, or None if there is none yet.
        keys: Keys of the images to store.
        selection: Which patches, and their labels.

    Raises:
        DecametreError: The product or a list cannot be used.
    """
    native = tuple(key for key in keys if key != "data_super")
    source = CuttingSource(product, tile, keys if tile else native)
    located = selection.listed.locate(product)
    inside = [patch for patch in located.patches if source.extent.contains(patch.window)]
    misfits = dict(located.misfits) | {
        patch.listed: f"is not completely inside {tile.path}"
        for patch in located.patches
        if tile and not source.extent.contains(patch.window)
    }
    # A patch that cannot be cut is no mistake if a list excludes it.
    excluded_misfits = selection.excluded.intersection(misfits)
    patches, left_out = exclude_by_name(inside, selection.excluded)
    left_out["listed"] += len(excluded_misfits)
    patches, covered = exclude_by_scene_class(
        product, patches, selection.scene_classes, selection.limit
    )
    left_out += covered
    if selection.label_raster is not None:
        labels = selection.label_raster.labels(product, patches)
        patches = [replace(p, labels=found) for p, found in zip(patches, labels, strict=True)]
    if selection.to_nineteen:
        converted = [replace(patch, labels=to_nineteen(patch.labels)) for patch in patches]
        kept = [
            now
            for before, now in zip(patches, converted, strict=True)
            if now.labels or not before.labels
        ]
        left_out["none of the 19 classes"] += len(patches) - len(kept)
        patches = kept
    return ProductPatches(
        product,
        tile.path if tile else None,
        patches,
        {name: reason for name, reason in misfits.items() if name not in excluded_misfits},
        left_out,
        excluded_misfits.union(patch.listed for patch in inside),
    )


def count_left_out(
    selection: PatchSelection, collected: Sequence[ProductPatches]
) -> Mapping[str, int]:
    """Count the excluded patches of a list by reason, over all products.

    Raises:
        PatchError: Patches cannot be cut, or one lies in two products.
        NoPatchError: No patch remains.
    """
    listed = selection.listed
    owners: dict[str, str] = {}
    for each in collected:
        for patch in each.patches:
            if patch.name in owners:
                raise PatchError(
                    f"patch {patch.name} lies in {owners[patch.name]} and in {each.product.id}; "
                    "give one of them, or state the product in a column 'product'"
                )
            owners[patch.name] = each.product.id
    handled = frozenset[str]().union(*(each.handled for each in collected))
    misfits = {
        name: reason
        for each in collected
        for name, reason in each.misfits.items()
        if name not in handled
    }
    if misfits and not selection.skip_misfits:
        name, reason = next(iter(misfits.items()))
        raise PatchError(
            f"{listed.source}: {counted(len(misfits), 'patch')} cannot be cut; the first, "
            f"{name}, {reason}; "
            "use --skip-misfits to skip them"
        )
    left_out = sum((each.left_out for each in collected), Counter[str]())
    left_out["misfit"] = len(misfits)
    left_out["elsewhere"] = max(0, len(listed) - len(handled) - len(misfits))
    reasons = {reason: count for reason, count in sorted(left_out.items()) if count}
    if not owners:
        summary = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        products = ", ".join(
            f"{p.id} ({p.platform}, {p.datetime}, tile {p.tile})"
            for p in (each.product for each in collected[:3])
        )
        wanted = _first_products(listed) if reasons.get("elsewhere") else ""
        raise NoPatchError(
            f"{listed.source}: no patch is left to cut from {products} "
            f"({summary or 'it is too small'})"
            + (f"; the list names {wanted}, ..." if wanted else ""),
            reasons,
        )
    return reasons


def _first_products(listed: PatchList) -> str:
    """Up to three products that a list names; empty if it names none."""
    try:
        return ", ".join(list(listed.counts())[:3])
    except PatchError:
        return ""
