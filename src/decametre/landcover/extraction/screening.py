"""Leaving out patches with snow, cloud or cloud shadow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from decametre.errors import PatchError
from decametre.landcover.bigearthnet.names import read_names
from decametre.landcover.extraction.placing import PlacedPatch
from decametre.landcover.patches.patch import PATCH_METRES
from decametre.sentinel2.product import Product
from decametre.sentinel2.scene_classification import CLASSES, GSD, read_scene_classification

LIMIT = 0.05
"""Share of a patch that each of them may cover: the classification takes bright roofs for cloud."""


def read_exclusions(paths: Iterable[Path]) -> frozenset[str]:
    """All names of lists such as BigEarthNet's of patches with snow, cloud or shadow.

    Args:
        paths: Text with a name a line, or BigEarthNet's tables in Parquet.

    Raises:
        PatchError: A list cannot be read.
    """
    names = {name for path in paths for pair in read_names(path) for name in pair}
    return frozenset(names - {""})


def leave_out_listed(
    patches: Sequence[PlacedPatch], excluded: frozenset[str]
) -> tuple[list[PlacedPatch], Counter[str]]:
    """The patches of which no name is excluded, and how many were left out as `listed`."""
    kept = [each for each in patches if excluded.isdisjoint((each.name, each.listed, each.alias))]
    return kept, Counter(listed=len(patches) - len(kept))


def leave_out_spoiled(
    product: Product, patches: Sequence[PlacedPatch], kinds: Sequence[str], limit: float
) -> tuple[list[PlacedPatch], Counter[str]]:
    """The patches that the product's scene classification calls clean.

    Args:
        product: The product, of Level-2A.
        patches: Inside it.
        kinds: Of `shadow`, `cloud` and `snow`.
        limit: Share of a patch that each of them may cover.

    Returns:
        The clean ones, and how many were left out for each kind; a patch counts once.

    Raises:
        PatchError: The limit is no share.
        MissingBandError: The product has no scene classification.
    """
    if not 0 <= limit <= 1:
        raise PatchError(f"a limit of {limit:g}; give a share of a patch, from 0 to 1")
    if not kinds or not patches:
        return list(patches), Counter()
    classification = read_scene_classification(product)
    edge = PATCH_METRES // GSD
    masks = {kind: np.isin(classification, CLASSES[kind]) for kind in kinds}
    kept, spoiled = [], Counter[str]()
    for patch in patches:
        at = patch.window.coarsened(GSD // 10).slices
        found = next((k for k, mask in masks.items() if mask[at].sum() > limit * edge**2), None)
        if found is None:
            kept.append(patch)
        else:
            spoiled[found] += 1
    return kept, spoiled
