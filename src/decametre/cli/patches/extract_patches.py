"""`decametre patches extract`: cut patches from products into a store."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options
from decametre.landcover.extraction.options import ExtractOptions
from decametre.text import counted

log = logging.getLogger(__name__)


@click.command("extract")
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@options(ExtractOptions)
def extract_patches(products: tuple[str, ...], output: Path, options: ExtractOptions) -> None:
    """Cut patches of 1200 m from PRODUCTs into the store OUTPUT.h5.

    Patches hold the bands as measured (120, 60 and 20 pixels wide), and all twelve at 10 m where
    sharpened images are given or made. With several workers, OUTPUT.h5 refers to the files of a
    folder next to it. An interrupted run resumes.
    """
    with progress_of("extracting", "patches", "patches") as progress:
        result = decametre.extract_patches(products, output, options=options, progress=progress)
    log.info("wrote %s: %s", result.path, counted(result.patches, "patch"))
