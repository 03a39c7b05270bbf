"""Exclude patches by name, or because of snow, cloud or cloud shadow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from decametre.errors import PatchError
from decametre.landcover.bigearthnet.names import read_names
from decametre.landcover.extraction.patch_location import LocatedPatch
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.sentinel2.masks import CLASSES, GSD, read_scene_classification
from decametre.sentinel2.product import Product


def read_exclusions(paths: Iterable[Path]) -> frozenset[str]:
    """Read the names in lists of excluded patches, such as BigEarthNet's of snow and cloud.

    Args:
        paths: Text with a name per line, or BigEarthNet's tables in Parquet.

    Raises:
        PatchError: A list cannot be read.
    """
    names = {name for path in paths for pair in read_names(path) for name in pair}
    return frozenset(names - {""})


def exclude_by_name(
    patches: Sequence[LocatedPatch], excluded: frozenset[str]
) -> tuple[list[LocatedPatch], Counter[str]]:
    """Exclude patches one of whose names is listed; returns the rest and the count `listed`."""
    kept = [each for each in patches if excluded.isdisjoint((each.name, each.listed, each.alias))]
    return kept, Counter(listed=len(patches) - len(kept))


def exclude_by_scene_class(
    product: Product, patches: Sequence[LocatedPatch], kinds: Sequence[str], limit: float
) -> tuple[list[LocatedPatch], Counter[str]]:
    """Exclude patches by the product's scene classification.

    Args:
        product: The product, of Level-2A.
        patches: Patches inside it.
        kinds: Classes to exclude: `shadow`, `cloud` and `snow`.
        limit: Share of a patch that each class may cover.

    Returns:
        The other patches, and the number of excluded ones by class; a patch is counted once.

    Raises:
        PatchError: The limit is not between 0 and 1.
        MissingBandError: The product has no scene classification.
    """
    if not 0 <= limit <= 1:
        raise PatchError(f"a limit of {limit:g}; give a share of a patch, from 0 to 1")
    if not kinds or not patches:
        return list(patches), Counter()
    classification = read_scene_classification(product)
    edge = PATCH_METRES // GSD
    masks = {kind: np.isin(classification, CLASSES[kind]) for kind in kinds}
    kept, excluded = [], Counter[str]()
    for patch in patches:
        pixels = patch.window.coarsened(GSD // 10).slices
        covered = (kind for kind, mask in masks.items() if mask[pixels].sum() > limit * edge**2)
        kind = next(covered, None)
        if kind is None:
            kept.append(patch)
        else:
            excluded[kind] += 1
    return kept, excluded
