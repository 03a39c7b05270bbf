"""`decametre models export`: a model as a file for other programs."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.options import options
from decametre.superres.export.options import ExportOptions

log = logging.getLogger(__name__)


@click.command()
@click.argument("name", metavar="NAME|FOLDER")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@options(ExportOptions)
def export(name: str, output: Path, options: ExportOptions) -> None:
    """Write a model as NAME.onnx into the folder OUT, with a STAC-MLM card.

    The file is compared with torch before it is written. It takes minutes.
    """
    for path in decametre.export_model(name, output, options=options):
        log.info("wrote %s", path)
