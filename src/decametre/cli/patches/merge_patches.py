"""`decametre patches merge`: combine stores into one."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options
from decametre.landcover.patches.options import MergeOptions
from decametre.text import counted

log = logging.getLogger(__name__)


@click.command("merge")
@click.argument("shards", type=click.Path(path_type=Path), metavar="SHARD...", nargs=-1)
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@options(MergeOptions)
def merge_patches(shards: tuple[Path, ...], output: Path, options: MergeOptions) -> None:
    """Combine stores: OUTPUT.h5 holds names and labels, and refers to each SHARD for its pixels.

    The references are relative paths: move all files together.
    """
    with progress_of(f"merging {output.name}", "patches", "patches") as progress:
        count = decametre.merge_patches(shards, output, options=options, progress=progress)
    patches, stores = counted(count, "patch"), counted(len(shards), "store")
    log.info("wrote %s: %s of %s", output, patches, stores)
