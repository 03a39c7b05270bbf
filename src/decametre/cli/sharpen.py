"""`decametre sharpen`: the main job."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre import api
from decametre.bands import BAND_NAMES
from decametre.cli.arguments import NumberList, offset_option, product_argument
from decametre.cli.console import progress_of
from decametre.grid import Window
from decametre.inference.device import PRECISIONS
from decametre.inference.job import ENCODINGS
from decametre.inference.pipeline import DEFAULT_TILE
from decametre.io.cog import COMPRESSIONS

log = logging.getLogger(__name__)


@click.command()
@product_argument
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--bands",
    default=",".join(BAND_NAMES),
    show_default="all twelve",
    help="Bands of the output, such as B05,B11,B12.",
)
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
@offset_option
@click.option(
    "--model",
    multiple=True,
    metavar="NAME|FOLDER",
    help="Model, family or model folder; repeatable. See `decametre models`.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N",
    help="auto: all GPUs of the machine, else the processor.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="auto: bfloat16 where the device is fast at it.",
)
@click.option(
    "--consistent",
    is_flag=True,
    help="Project the result so that, seen through the sensor, it gives the input.",
)
@click.option(
    "--encoding",
    type=click.Choice(list(ENCODINGS)),
    default="dn",
    show_default=True,
    help="dn: the input's own numbers. reflectance: float32.",
)
@click.option(
    "--compression", type=click.Choice(COMPRESSIONS), default="deflate", show_default=True
)
@click.option("--quicklook", is_flag=True, help="Also write a before/after picture.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option(
    "--tile",
    type=click.IntRange(min=60),
    default=DEFAULT_TILE,
    show_default=True,
    help="Edge in 10 m pixels of what is computed at once; less takes less memory.",
)
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
