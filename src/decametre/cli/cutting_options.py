"""Which patches are cut from a product, as options: of `patches extract`, and of a fleet."""

from __future__ import annotations

from pathlib import Path

import click

from decametre.cli.arguments import FiniteRange, offset_option, together

cutting_options = together(
    click.option(
        "--patches",
        type=click.Path(path_type=Path),
        metavar="LIST",
        help="BigEarthNet's metadata.parquet, an unpacked BigEarthNet v1, names in a .txt or .csv, "
        "or a grid as GeoJSON or GeoParquet; the whole grid of every PRODUCT without.",
    ),
    click.option(
        "--stride",
        type=click.IntRange(60, 1200),
        default=1200,
        show_default=True,
        metavar="METRES",
        help="Of the whole grid: from one patch to the next, a multiple of 60; with less than 1200 "
        "they overlap.",
    ),
    click.option(
        "--label-column",
        default="labels",
        show_default=True,
        metavar="NAME",
        help="Of a grid: its column of labels.",
    ),
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="RASTER",
        help="Take the labels from a raster of classes, such as CORINE Land Cover.",
    ),
    click.option(
        "--label-names",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Names of the RASTER's classes, JSON or CSV. Without, those that it holds, as rasters "
        "of `patches label` do, else CORINE's codes of level 3.",
    ),
    click.option(
        "--label-share",
        type=FiniteRange(0, 1),
        default=0.0,
        show_default=True,
        help="A patch has the classes that cover at least this share of its pixels, those not "
        "counted for which the RASTER has nodata.",
    ),
    click.option(
        "--classes",
        type=click.Choice(["19", "43"]),
        help="Nomenclature of the store; that of the labels without. 43 can become 19.",
    ),
    click.option(
        "--native/--no-native",
        default=True,
        show_default=True,
        help="Also keep the bands as measured, on their native grids.",
    ),
    click.option(
        "--exclude",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="LIST",
        help="Leave out the patches of a list, such as BigEarthNet's of snow and cloud. "
        "Repeatable.",
    ),
    click.option(
        "--no-cloud", is_flag=True, help="Leave out cloudy patches, by the product's SCL."
    ),
    click.option("--no-shadow", is_flag=True, help="Leave out those in clouds' shadow, likewise."),
    click.option("--no-snow", is_flag=True, help="Leave out snowy ones, likewise."),
    click.option(
        "--limit",
        type=FiniteRange(0, 1),
        default=0.05,
        show_default=True,
        help="Share of a patch that each of these may cover.",
    ),
    click.option(
        "--skip-misfits",
        is_flag=True,
        help="Leave out patches that lie off a PRODUCT's pixels or across its edge.",
    ),
    offset_option,
)
"""patches, stride, label_column, labels, label_names, label_share, classes, native, exclude,
no_cloud, no_shadow, no_snow, limit, skip_misfits, offset."""
