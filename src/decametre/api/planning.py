"""Distribute patches over workers."""

from __future__ import annotations

from pathlib import Path

from decametre.api.keywords import takes
from decametre.landcover.extraction.options import PlanPatchesOptions
from decametre.landcover.extraction.patch_lists import read_patch_list
from decametre.landcover.extraction.screening import read_exclusions
from decametre.landcover.extraction.work_distribution import Distribution, distributions
from decametre.options import PathLike


@takes(PlanPatchesOptions)
def plan_patches(patches: PathLike, options: PlanPatchesOptions) -> list[Distribution]:
    """Distribute the patches of a list over workers by every method, the best first.

    Args:
        patches: As in `extract_patches`; a list with the product of each patch.

    Raises:
        PatchError: The list cannot be read, or does not name the products of its patches.
    """
    excluded = read_exclusions(options.exclude)
    return distributions(read_patch_list(Path(patches)).counts(excluded), options.workers)
