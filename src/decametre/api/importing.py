"""Import published archives of patches."""

from __future__ import annotations

from pathlib import Path

from decametre.api.keywords import takes
from decametre.landcover.bigearthnet import importing
from decametre.landcover.bigearthnet.options import ImportOptions
from decametre.options import PathLike
from decametre.progress import Progress, silent


@takes(ImportOptions)
def import_patches(
    archive: PathLike,
    output: PathLike,
    options: ImportOptions,
    *,
    progress: Progress = silent,
) -> importing.ImportResult:
    """Convert a published archive to a store, or resume an interrupted run for the same output.

    Args:
        archive: An unpacked BigEarthNet v1 or v2, or the LMDB that rico-hdl makes of v2.
        output: The HDF5 file to write.
        progress: Called with the patches completed, all patches, and the patches read by this run.

    Returns:
        How many patches the store holds, and how many were skipped for which reason.

    Raises:
        DecametreError: The message of its subclass is one line that names the remedy.
    """
    return importing.import_patches(
        Path(archive),
        Path(output),
        tables=options.metadata,
        classes=options.classes,
        exclude=options.exclude,
        splits=options.splits,
        skip_damaged=options.skip_damaged,
        overwrite=options.overwrite,
        progress=progress,
    )
