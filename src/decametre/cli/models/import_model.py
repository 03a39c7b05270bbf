"""`decametre models import`: published land-cover networks as model folders."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.options import options
from decametre.landcover.options import ImportModelOptions

log = logging.getLogger(__name__)


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@options(ImportModelOptions)
def import_model(folder: Path, output: Path, options: ImportModelOptions) -> None:
    """Convert a published BigEarthNet v2 network to a model folder for land cover.

    FOLDER is a downloaded folder of BIFOLD-BigEarthNetv2-0, with config.json and model.safetensors.
    `landcover evaluate` and `landcover predict` take OUT as --model.
    """
    card = decametre.import_model(folder, output, options=options)
    bands = " ".join(card.bands)
    log.info(
        "wrote %s: %s, %d classes, bands %s", output, card.architecture, len(card.classes), bands
    )
