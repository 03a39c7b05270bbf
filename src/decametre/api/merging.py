"""Combine stores of patches into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decametre.api.keywords import takes
from decametre.landcover.patches import merge
from decametre.landcover.patches.options import MergeOptions
from decametre.options import PathLike
from decametre.progress import Progress, silent


@takes(MergeOptions)
def merge_patches(
    shards: Sequence[PathLike],
    output: PathLike,
    options: MergeOptions,
    *,
    progress: Progress = silent,
) -> int:
    """Combine stores of patches into one.

    The output refers to the shards by relative paths. With `consolidate` it holds all pixels
    itself; an interrupted run then resumes.

    Args:
        shards: Stores with the same images, classes and model, and without a patch in common.
        output: The HDF5 file to write.
        progress: Called with the patches copied, all patches, and the patches copied by this run.

    Returns:
        The number of patches.

    Raises:
        PatchError: The shards do not fit together, or share a patch.
        OutputError: The output cannot be written.
    """
    return merge.merge_patches(
        [Path(path) for path in shards],
        Path(output),
        consolidate=options.consolidate,
        overwrite=options.overwrite,
        progress=progress,
    )
