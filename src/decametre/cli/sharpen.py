"""`decametre sharpen`: bring the bands of a product to 10 m."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options, product_argument
from decametre.superres.sharpening.options import SharpenOptions

log = logging.getLogger(__name__)


@click.command()
@product_argument
@click.argument("output", type=click.Path(path_type=Path))
@options(SharpenOptions)
def sharpen(product: str, output: Path, options: SharpenOptions) -> None:
    """Bring the bands of PRODUCT to a resolution of 10 m and write them to the GeoTIFF OUTPUT.

    PRODUCT is a SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, or a STAC item (path or
    URL). A STAC item and a quality card are written next to OUTPUT.
    """
    with progress_of("sharpening") as progress:
        result = decametre.sharpen(product, output, options=options, progress=progress)
    for path in (result.path, result.item_path, result.quality_path, result.quicklook_path):
        if path is not None:
            log.info("wrote %s", path)
