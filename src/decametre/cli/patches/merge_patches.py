"""`decametre patches merge`: shards in, one store out."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre import api
from decametre.cli.console import progress_of

log = logging.getLogger(__name__)


@click.command("merge")
@click.argument("shards", type=click.Path(path_type=Path), metavar="SHARD...", nargs=-1)
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@click.option(
    "--consolidate",
    is_flag=True,
    help="Copy all pixels into OUTPUT; it then needs the shards no more.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing OUTPUT.")
def merge_patches(
    shards: tuple[Path, ...], output: Path, consolidate: bool, overwrite: bool
) -> None:
    """Present stores as one: OUTPUT.h5 holds names and labels, and refers to SHARD... for pixels.

    It refers to them by their place relative to its own: move all together.
    """
    with progress_of(f"merging {output.name}", "patches", "patches") as progress:
        count = api.merge_patches(
            shards, output, consolidate=consolidate, overwrite=overwrite, progress=progress
        )
    log.info("wrote %s: %d patches of %d shards", output, count, len(shards))
