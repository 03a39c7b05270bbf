"""`decametre landcover`: score land-cover models on a store of patches, and map a product."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

import click

from decametre import api
from decametre.cli.arguments import NumberList, product_argument
from decametre.cli.console import progress_of
from decametre.cli.mapping_options import mapping_options
from decametre.landcover.patches.patch import SPLITS
from decametre.sentinel2.grid import Window
from decametre.training.launcher import read_rank_info

log = logging.getLogger(__name__)


@click.group()
def landcover() -> None:
    """Score land-cover models, and map products with them; `train` makes such models."""


@landcover.command()
@click.argument("store", type=click.Path(path_type=Path), metavar="STORE.h5")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="FOLDER",
    help="Model folder; repeatable.",
)
@click.option(
    "--split",
    type=click.Choice([*SPLITS, "all"]),
    default="test",
    show_default=True,
    help="Which patches; a store without splits is taken whole.",
)
@click.option(
    "--thresholds",
    type=click.Choice(["card", "fixed", "global", "per_class"]),
    default="card",
    show_default=True,
    help="card: as the model's card says, else 0.5. fixed: 0.5. Or tuned on a validation split, "
    "one for all classes or one each.",
)
@click.option(
    "--tune-on",
    type=click.Path(path_type=Path),
    metavar="STORE.h5",
    show_default="the same",
    help="The store whose validation split they are tuned on.",
)
@click.option("--keep-thresholds", is_flag=True, help="Write tuned thresholds into the card.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N",
    help="auto: a GPU, else the processor.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write scores.json, scores.csv, scores.md and figures into this folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier evaluation in FOLDER.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def evaluate(
    store: Path,
    model: tuple[Path, ...],
    split: str,
    thresholds: str,
    tune_on: Path | None,
    keep_thresholds: bool,
    device: str,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score models on the patches of STORE.h5: precision, recall, F1 and average precision.

    Under torchrun or srun, all processes classify, and the first alone writes and prints.
    """
    from decametre.landcover.evaluation import tables

    talks = read_rank_info().rank == 0  # the others only say why they fail
    if not talks:
        logging.getLogger("decametre").setLevel(logging.ERROR)
    with ExitStack() as shown:
        progress = (
            shown.enter_context(progress_of("classifying", "patches", "patches"))
            if talks
            else lambda done, total, patches: None
        )
        result = api.evaluate_land_cover(
            store,
            model,
            split=split,
            thresholds=thresholds,
            tune_on=tune_on,
            keep_thresholds=keep_thresholds,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    if talks:
        click.echo(tables.json_text(result) if as_json else tables.text(result))


@landcover.command()
@product_argument
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT.tif")
@click.option(
    "--window",
    type=NumberList("COL,ROW,WIDTH,HEIGHT", int),
    help="Part of the product in 10 m pixels; snapped outward to whole pixels of 60 m.",
)
@click.option(
    "--bbox",
    type=NumberList("WEST,SOUTH,EAST,NORTH", float),
    help="Part of the product in degrees; snapped outward likewise.",
)
@mapping_options
@click.option(
    "--sharpened",
    type=click.Path(path_type=Path),
    metavar="TIF",
    help="What `decametre sharpen` made of PRODUCT, for a model trained on such images.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def predict(
    product: str,
    output: Path,
    model: Path,
    stride: int,
    window: tuple[int, int, int, int] | None,
    bbox: tuple[float, float, float, float] | None,
    offset: str,
    sharpened: Path | None,
    sharpen_with: tuple[str, ...],
    least_data: float,
    encoding: str,
    geojson: bool,
    device: str,
    precision: str,
    overwrite: bool,
) -> None:
    """Map the land cover of PRODUCT: the probability of every class, a band each, in OUT.tif.

    A pixel says what the network makes of the 1200 m around its centre. Beside OUT.tif stand the
    most probable class (NAME.classes.tif), the patches (NAME.geojson) and a STAC item.
    """
    with progress_of("classifying", "patches", "patches") as progress:
        result = api.predict_land_cover(
            product,
            output,
            model,
            stride=stride,
            window=Window(*window) if window else None,
            bbox=bbox,
            offset=offset,
            sharpened=sharpened,
            sharpen_with=sharpen_with,
            least_data=least_data,
            encoding=encoding,
            geojson=geojson,
            device=device,
            precision=precision,
            overwrite=overwrite,
            progress=progress,
        )
    log.info("%d patches classified, %d without data", result.patches, result.without_data)
    for path in (result.path, result.classes_path, result.features_path, result.item_path):
        if path is not None:
            log.info("wrote %s", path)
