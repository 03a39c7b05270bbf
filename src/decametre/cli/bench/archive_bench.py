"""`decametre bench archive`: a made archive of the size of the published ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from decametre.cli.arguments import product_argument
from decametre.cli.bench.options import json_option, show


@click.command("archive")
@product_argument
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where to make the archive, 161 kB a patch; the system's temporary folder without.",
)
@click.option(
    "--patches",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Made patches.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Files that they are written to.",
)
@click.option(
    "--consolidated",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="How many of the shards are copied into one file; that takes their room once more.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Processes of the training loader; with 0 the training process reads.",
)
@json_option
def archive_bench(
    product: str,
    folder: Path | None,
    patches: int,
    shards: int,
    consolidated: int,
    workers: int,
    as_json: bool,
) -> None:
    """Write, kill, merge and read an archive of patches made of PRODUCT's pixels.

    At 100,000 patches it takes 20 GB, which are removed at the end.
    """
    from decametre.bench import archive as measuring

    if patches < 2 * shards:
        raise click.BadParameter(
            f"{patches} are fewer than two a shard, of which there are {shards}",
            param_hint="--patches",
        )
    if consolidated > shards:
        raise click.BadParameter(
            f"{consolidated} is more than the {shards} shards", param_hint="--consolidated"
        )
    with tempfile.TemporaryDirectory(dir=folder) as made:
        report = measuring.run(product, Path(made), patches, shards, consolidated, workers)
    show(report, as_json)
