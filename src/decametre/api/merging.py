"""Present stores of patches as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decametre.api.arguments import PathLike, Progress
from decametre.landcover.patches import merge


def merge_patches(
    shards: Sequence[PathLike],
    output: PathLike,
    *,
    consolidate: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total, count: None,
) -> int:
    """Present stores of patches as one.

    Args:
        shards: Stores with the same images, classes and model, and without a patch in common.
        output: The HDF5 file to make. It refers to the shards by their place relative to its own.
        consolidate: Copy all pixels instead; a killed run then goes on where it was.
        overwrite: Replace an existing output.
        progress: Called with patches copied, all patches, and patches copied by this run.

    Returns:
        The number of patches.

    Raises:
        PatchError: The shards do not fit one another, or share a patch.
        OutputError: The output cannot be written.
    """
    return merge.merge_patches(
        [Path(path) for path in shards],
        Path(output),
        consolidate=consolidate,
        overwrite=overwrite,
        progress=progress,
    )
