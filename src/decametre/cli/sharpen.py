"""`decametre sharpen`: bring the bands of a product to 10 m."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options
from decametre.superres.sharpening.options import SharpenOptions

log = logging.getLogger(__name__)


@click.command()
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@click.argument("output", type=click.Path(path_type=Path))
@options(SharpenOptions)
def sharpen(products: tuple[str, ...], output: Path, options: SharpenOptions) -> None:
    """Bring the bands of PRODUCT to a resolution of 10 m and write them to the GeoTIFF OUTPUT.

    PRODUCT is a SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, or a STAC item (path or
    URL). A STAC item and a quality card are written next to OUTPUT. With several PRODUCTs, or if
    OUTPUT is an existing folder, each result is written to that folder, named after its product.
    """
    several = len(products) > 1 or output.is_dir()
    with progress_of("sharpening") as progress:
        if several:
            found = decametre.sharpen(products, output, options=options, progress=progress)
        else:
            found = [decametre.sharpen(products[0], output, options=options, progress=progress)]
    for result in found:
        for path in result.paths:
            log.info("wrote %s", path)
