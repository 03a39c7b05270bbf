"""`decametre sharpen`: bring the bands of a product to 10 m."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

import decametre
from decametre.cli.console import progress_of
from decametre.cli.options import options
from decametre.superres.sharpening.options import SharpenOptions

log = logging.getLogger(__name__)


class _Products(click.Argument):
    """The products; click takes a single argument as OUTPUT, but it is a product."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """See `click.Parameter.process_value`; a missing argument is OUTPUT."""
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter as error:
            error.param_hint = "'OUTPUT'"
            raise


@click.command()
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True, cls=_Products)
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
