"""Spread patches over workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decametre.api.arguments import PathLike
from decametre.landcover.extraction.patch_lists import read_patch_list
from decametre.landcover.extraction.screening import read_exclusions
from decametre.landcover.extraction.work_distribution import Distribution, distributions


def plan_patches(
    patches: PathLike, *, workers: int, exclude: Sequence[PathLike] = ()
) -> list[Distribution]:
    """How the patches of a list would be spread over workers, by every method, the best first.

    Args:
        patches: As in `extract_patches`; a list that says of which product each patch is.
        workers: How many there are.
        exclude: Lists of patches to leave out.

    Raises:
        PatchError: The list cannot be read, or does not say of which products its patches are.
    """
    excluded = read_exclusions(Path(path) for path in exclude)
    return distributions(read_patch_list(Path(patches)).counts(excluded), workers)
