"""`decametre bench stores`: reading stores of patches."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from decametre.cli.bench.options import (
    json_option,
    show,
)


@click.command("stores")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where to make the stores, 0.5 MB a patch; the system's temporary folder without.",
)
@click.option(
    "--patches",
    type=click.IntRange(min=4),
    default=4096,
    show_default=True,
    help="Made patches in each store; all are to fit into memory.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Patches read at once.",
)
@json_option
def stores_bench(folder: Path | None, patches: int, batch: int, as_json: bool) -> None:
    """Measure how fast stores of patches are read at random, beside an LMDB."""
    from decametre.bench import stores as measuring

    with tempfile.TemporaryDirectory(dir=folder) as made:
        report = measuring.run(Path(made), patches, batch, -(-patches // batch))
    show(report, as_json)
