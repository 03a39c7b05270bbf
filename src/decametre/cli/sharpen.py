"""`decametre sharpen`: the main job."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre import api
from decametre.cli.arguments import NumberList, product_argument
from decametre.cli.console import progress_of
from decametre.cli.sharpening_options import sharpening_options
from decametre.sentinel2.grid import Window

log = logging.getLogger(__name__)


@click.command()
@product_argument
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--window",
    type=NumberList("COL,ROW,WIDTH,HEIGHT", int),
    help="Part of the product in 10 m pixels; snapped outward to whole coarse pixels.",
)
@click.option(
    "--bbox",
    type=NumberList("WEST,SOUTH,EAST,NORTH", float),
    help="Part of the product in degrees; snapped outward likewise.",
)
@sharpening_options
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def sharpen(
    product: str,
    output: Path,
    bands: str,
    window: tuple[int, int, int, int] | None,
    bbox: tuple[float, float, float, float] | None,
    offset: str,
    model: tuple[str, ...],
    device: str,
    precision: str,
    consistent: bool,
    encoding: str,
    compression: str,
    quicklook: bool,
    overwrite: bool,
    tile: int,
) -> None:
    """Bring the bands of PRODUCT to ten metres, into the GeoTIFF OUTPUT.

    PRODUCT is a SAFE folder, a SAFE .zip, the path of its MTD_MSI*.xml, or a STAC item (path or
    URL). Beside OUTPUT stand a STAC item and a quality card.
    """
    with progress_of("sharpening") as progress:
        result = api.sharpen(
            product,
            output,
            bands=bands.split(","),
            window=Window(*window) if window else None,
            bbox=bbox,
            offset=offset,
            model=model,
            device=device,
            precision=precision,
            consistent=consistent,
            encoding=encoding,
            compression=compression,
            quicklook=quicklook,
            overwrite=overwrite,
            tile=tile,
            progress=progress,
        )
    for path in (result.path, result.item_path, result.quality_path, result.quicklook_path):
        if path is not None:
            log.info("wrote %s", path)
