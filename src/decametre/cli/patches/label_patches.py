"""`decametre patches label`: a product in, a raster of classes by spectral rules out."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from decametre import api
from decametre.cli.arguments import offset_option, product_argument
from decametre.cli.console import progress_of

log = logging.getLogger(__name__)


@click.command("label")
@product_argument
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT.tif")
@offset_option
@click.option("--overwrite", is_flag=True, help="Replace an existing OUTPUT.")
def label_patches(product: str, output: Path, offset: str, overwrite: bool) -> None:
    """Give the pixels of PRODUCT classes by spectral rules, for `extract --labels OUTPUT.tif`.

    Water, vegetation, bare ground, built-up and snow, by published indices and stated thresholds:
    good to check whether a network learns at all. They are no ground truth.
    """
    with progress_of("labelling", "windows", "Mpixel") as progress:
        shares = api.label_product(
            product, output, offset=offset, overwrite=overwrite, progress=progress
        )
    log.info("wrote %s: %s", output, ", ".join(f"{n} {s:.1%}" for n, s in shares.items()))
