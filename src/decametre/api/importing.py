"""Make a store of patches of a published archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from decametre.api.arguments import PathLike, Progress
from decametre.landcover.bigearthnet import importing


def import_patches(
    archive: PathLike,
    output: PathLike,
    *,
    metadata: Sequence[PathLike] = (),
    classes: int | None = None,
    exclude: Sequence[PathLike] = (),
    splits: Mapping[str, PathLike] | None = None,
    skip_damaged: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total, count: None,
) -> importing.ImportResult:
    """Make a store of a published archive, or go on where a run for the same output was killed.

    Args:
        archive: An unpacked BigEarthNet v1 or v2, or the LMDB that rico-hdl makes of v2.
        output: The HDF5 file to make.
        metadata: BigEarthNet v2's `metadata.parquet`, where it does not stand beside an archive of
            v2. Patches that it does not name are left out. With v1, it gives splits and countries.
        classes: 43 or 19; those of the archive without. v1 has 43, and can give 19.
        exclude: Lists of patches to leave out, as published with BigEarthNet.
        splits: By split, a list of its patches; those on no list are left out.
        skip_damaged: Leave out patches that cannot be read, and say which.
        overwrite: Replace an existing output.
        progress: Called with patches done, all patches, and patches read by this run.

    Returns:
        How many patches the store holds, and how many were left out for which reason.

    Raises:
        DecametreError: One of its subclasses says what the user can mend.
    """
    return importing.import_patches(
        Path(archive),
        Path(output),
        tables=[Path(path) for path in metadata],
        classes=classes,
        exclude=[Path(path) for path in exclude],
        splits={split: Path(path) for split, path in (splits or {}).items()},
        skip_damaged=skip_damaged,
        overwrite=overwrite,
        progress=progress,
    )
