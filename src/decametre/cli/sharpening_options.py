"""How a product is sharpened, as options: of `sharpen`, and of a fleet that does so."""

from __future__ import annotations

import click

from decametre.choices import DEFAULT_TILE, ENCODINGS, PRECISIONS
from decametre.cli.arguments import offset_option, together
from decametre.sentinel2.bands import BAND_NAMES
from decametre.superres.sharpening.image_writer import COMPRESSIONS

sharpening_options = together(
    click.option(
        "--bands",
        default=",".join(BAND_NAMES),
        show_default="all twelve",
        help="Bands of the output, such as B05,B11,B12.",
    ),
    offset_option,
    click.option(
        "--model",
        multiple=True,
        metavar="NAME|FOLDER",
        help="Model, family or model folder; repeatable. See `decametre models`.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N",
        help="auto: all GPUs of the machine, else the processor.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="auto: bfloat16 where the device is fast at it.",
    ),
    click.option(
        "--consistent",
        is_flag=True,
        help="Project the result so that, seen through the sensor, it gives the input.",
    ),
    click.option(
        "--encoding",
        type=click.Choice(list(ENCODINGS)),
        default="dn",
        show_default=True,
        help="dn: the input's own numbers. reflectance: float32.",
    ),
    click.option(
        "--compression", type=click.Choice(COMPRESSIONS), default="deflate", show_default=True
    ),
    click.option("--quicklook", is_flag=True, help="Also write a before/after picture."),
    click.option(
        "--tile",
        type=click.IntRange(min=60),
        default=DEFAULT_TILE,
        show_default=True,
        help="Edge in 10 m pixels of what is computed at once; less takes less memory.",
    ),
)
"""bands, offset, model, device, precision, consistent, encoding, compression, quicklook, tile."""
