"""`decametre patches extract`: products in, a store of patches out."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre import api
from decametre.cli.console import progress_of
from decametre.cli.cutting_options import cutting_options

log = logging.getLogger(__name__)


@click.command("extract")
@click.argument("products", metavar="PRODUCT...", nargs=-1, required=True)
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.h5")
@cutting_options
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
    "--workers",
    type=click.IntRange(min=1),
    show_default="all cores",
    help="Processes that cut.",
)
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
