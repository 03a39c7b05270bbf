"""`decametre patches extract`: products in, a store of patches out."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre import api
from decametre.cli.arguments import offset_option
from decametre.cli.console import progress_of

log = logging.getLogger(__name__)


@click.command("extract")
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@click.option(
    "--patches",
    type=click.Path(path_type=Path),
    metavar="LIST",
    help="BigEarthNet's metadata.parquet, an unpacked BigEarthNet v1, names in a .txt or .csv, or "
    "a grid as GeoJSON or GeoParquet; the whole grid of every PRODUCT without.",
)
@click.option(
    "--stride",
    type=click.IntRange(60, 1200),
    default=1200,
    show_default=True,
    metavar="METRES",
    help="Of the whole grid: from one patch to the next, a multiple of 60; with less than 1200 "
    "they overlap.",
)
@click.option(
    "--label-column",
    default="labels",
    show_default=True,
    metavar="NAME",
    help="Of a grid: its column of labels.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="RASTER",
    help="Take the labels from a raster of classes, such as CORINE Land Cover.",
)
@click.option(
    "--label-names",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names of the RASTER's classes, JSON or CSV. Without, those that it holds, as rasters of "
    "`patches label` do, else CORINE's codes of level 3.",
)
@click.option(
    "--label-share",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="A patch has the classes that cover at least this share of its pixels, those not counted "
    "for which the RASTER has nodata.",
)
@click.option(
    "--classes",
    type=click.Choice(["19", "43"]),
    help="Nomenclature of the store; that of the labels without. 43 can become 19.",
)
@click.option(
    "--sharpened",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="TIF",
    help="What `decametre sharpen` made of a PRODUCT, for data_super. Repeatable.",
)
@click.option("--sharpen", is_flag=True, help="Sharpen each PRODUCT of which there is no TIF.")
@click.option(
    "--model",
    multiple=True,
    metavar="NAME|FOLDER",
    help="For --sharpen: model, family or model folder; repeatable.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N",
    help="For --sharpen.",
)
@click.option(
    "--native/--no-native",
    default=True,
    show_default=True,
    help="Also keep the bands as measured, on their native grids.",
)
@click.option(
    "--exclude",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="LIST",
    help="Leave out the patches of a list, such as BigEarthNet's of snow and cloud. Repeatable.",
)
@click.option("--no-cloud", is_flag=True, help="Leave out cloudy patches, by the product's SCL.")
@click.option("--no-shadow", is_flag=True, help="Leave out those in clouds' shadow, likewise.")
@click.option("--no-snow", is_flag=True, help="Leave out snowy ones, likewise.")
@click.option(
    "--limit",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Share of a patch that each of these may cover.",
)
@click.option(
    "--skip-misfits",
    is_flag=True,
    help="Leave out patches that lie off a PRODUCT's pixels or across its edge.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    show_default="all cores",
    help="Processes that cut.",
)
@offset_option
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace an existing OUTPUT, or an unfinished run of other settings.",
)
def extract_patches(
    products: tuple[str, ...],
    output: Path,
    patches: Path | None,
    stride: int,
    label_column: str,
    labels: Path | None,
    label_names: Path | None,
    label_share: float,
    classes: str | None,
    sharpened: tuple[Path, ...],
    sharpen: bool,
    model: tuple[str, ...],
    device: str,
    native: bool,
    exclude: tuple[Path, ...],
    no_cloud: bool,
    no_shadow: bool,
    no_snow: bool,
    limit: float,
    skip_misfits: bool,
    workers: int | None,
    offset: str,
    overwrite: bool,
) -> None:
    """Cut patches of 1200 m from PRODUCTs into the store OUTPUT.h5.

    Patches keep their bands as measured (120, 60 and 20 pixels wide), and those of sharpened
    products all twelve at 10 m. With several workers, OUTPUT.h5 presents the files of a folder
    beside it. A run that was killed goes on where it was.
    """
    with progress_of("extracting", "patches", "patches") as progress:
        result = api.extract_patches(
            products,
            output,
            patches=patches,
            stride=stride,
            label_column=label_column,
            labels=labels,
            label_names=label_names,
            label_share=label_share,
            classes=int(classes) if classes else None,
            sharpened=sharpened,
            sharpen=sharpen,
            model=model,
            device=device,
            native=native,
            exclude=exclude,
            no_cloud=no_cloud,
            no_shadow=no_shadow,
            no_snow=no_snow,
            limit=limit,
            skip_misfits=skip_misfits,
            workers=workers,
            offset=offset,
            overwrite=overwrite,
            progress=progress,
        )
    log.info("wrote %s: %d patches", result.path, result.patches)
