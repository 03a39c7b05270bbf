"""`decametre patches import`: convert a published archive to a store."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options
from decametre.landcover.bigearthnet.options import ImportOptions
from decametre.text import counted

log = logging.getLogger(__name__)


@click.command("import")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@options(ImportOptions)
def import_patches(archive: Path, output: Path, options: ImportOptions) -> None:
    """Convert a published ARCHIVE to the store OUTPUT.h5.

    ARCHIVE is an unpacked BigEarthNet v1 or v2, or the LMDB that rico-hdl makes of v2. An
    interrupted run resumes.
    """
    with progress_of(f"importing {archive.name}", "patches", "patches") as progress:
        result = decametre.import_patches(archive, output, options=options, progress=progress)
    log.info("wrote %s: %s", result.path, counted(result.patches, "patch"))
