"""`decametre landcover`: score land-cover models on a store of patches, and map products."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import decametre
from decametre.cli.console import progress_of, progress_of_first_rank
from decametre.cli.options import json_option, options, product_argument
from decametre.landcover.evaluation.options import LandCoverEvaluateOptions
from decametre.landcover.mapping.options import PredictOptions
from decametre.text import counted

log = logging.getLogger(__name__)


@click.group()
def landcover() -> None:
    """Score land-cover models, and map products with them; `train` makes such models."""


@landcover.command()
@click.argument("store", type=click.Path(path_type=Path), metavar="STORE.h5")
@options(LandCoverEvaluateOptions)
@json_option
def evaluate(store: Path, options: LandCoverEvaluateOptions, as_json: bool) -> None:
    """Score models on the patches of STORE.h5: precision, recall, F1 and average precision.

    Under torchrun or srun, all processes classify, and the first one writes and prints.
    """
    with progress_of_first_rank("classifying", "patches", "patches") as (first, progress):
        result = decametre.evaluate_land_cover(store, options=options, progress=progress)
    if first:
        from decametre.landcover.evaluation import tables

        click.echo(tables.json_text(result) if as_json else tables.text(result))


@landcover.command()
@product_argument
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT.tif")
@options(PredictOptions)
def predict(product: str, output: Path, options: PredictOptions) -> None:
    """Map the land cover of PRODUCT: the probability of every class, as one band each in OUT.tif.

    A pixel is the network's result for the 1200 m around its centre. The most probable class
    (NAME.classes.tif), the patches (NAME.geojson) and a STAC item are written next to OUT.tif.
    """
    with progress_of("classifying", "patches", "patches") as progress:
        result = decametre.predict_land_cover(product, output, options=options, progress=progress)
    classified = counted(result.patches, "patch")
    log.info("%s classified, %d without data", classified, result.without_data)
    for path in (result.path, result.classes_path, result.features_path, result.item_path):
        if path is not None:
            log.info("wrote %s", path)
