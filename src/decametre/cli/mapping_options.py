"""How the land cover of a product is mapped, as options: of `landcover predict`, and of a fleet."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.choices import PRECISIONS
from decametre.cli.arguments import FiniteRange, offset_option, together
from decametre.landcover.mapping.geotiff import ENCODINGS

mapping_options = together(
    click.option(
        "--model",
        type=click.Path(path_type=Path),
        required=True,
        metavar="FOLDER",
        help="Folder of a land-cover model.",
    ),
    click.option(
        "--stride",
        type=int,
        default=1200,
        show_default=True,
        metavar="METRES",
        help="From one patch to the next, and the size of a pixel: 1200 or less, a multiple of 60.",
    ),
    offset_option,
    click.option(
        "--sharpen-with",
        multiple=True,
        metavar="NAME|FOLDER",
        show_default="what sharpened its training images",
        help="For such a model: model, family or model folder that sharpens on the way; "
        "repeatable.",
    ),
    click.option(
        "--least-data",
        type=FiniteRange(0, 1, min_open=True),
        default=0.9,
        show_default=True,
        help="Share of a patch that must have data.",
    ),
    click.option(
        "--encoding",
        type=click.Choice(list(ENCODINGS)),
        default="probability",
        show_default=True,
        help="probability: float32, 0 to 1. percent: uint8.",
    ),
    click.option(
        "--geojson/--no-geojson", default=True, show_default=True, help="Also write the patches."
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N",
        help="auto: the first GPU of the machine, else the processor.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="Of what sharpens on the way.",
    ),
)
"""model, stride, offset, sharpen_with, least_data, encoding, geojson, device, precision."""
